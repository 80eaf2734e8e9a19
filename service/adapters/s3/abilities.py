"""What a store honours, seen by trying: many accept a header and ignore it, some refuse it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from anyio import CancelScope
from botocore.exceptions import ClientError

from service.adapters.s3.errors import answering, is_refusal, is_taken
from service.domain.errors import RefkeepError

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

    from service.adapters.s3.client import S3Config

_BODY = b"probe"
_FOLDER = "probe/"
_KEY = re.compile(r"probe/[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Abilities:
    """`checksums`: a wrong SHA-256 is refused. `conditional`: `If-None-Match: *` on a taken key is refused."""

    checksums: bool
    conditional: bool

    def checksum(self, digest: bytes) -> dict[str, str]:
        """The option that has the store verify the SHA-256 `digest`, none where it would not."""
        return _checksum(digest) if self.checksums else {}

    def only_new(self) -> dict[str, str]:
        """The option that refuses a taken key, none where the store would not."""
        return {"IfNoneMatch": "*"} if self.conditional else {}


async def find_abilities(client: S3Client, config: S3Config) -> Abilities:
    """Try what `config` allows, on an object of its own outside the keys of blobs, and remove it.

    Raises `StorageUnavailable` while the store does not answer.
    """
    key = f"{_FOLDER}{uuid4().hex}"
    try:
        async with answering(config.patience):
            return Abilities(
                checksums=config.checksums and await _verifies_checksums(client, config.bucket, key),
                conditional=config.conditional and await _refuses_taken_keys(client, config.bucket, key),
            )
    finally:
        with CancelScope(shield=True), contextlib.suppress(RefkeepError):
            async with answering(config.patience / 2):
                await client.delete_object(Bucket=config.bucket, Key=key)


async def sweep_probes(client: S3Client, config: S3Config, older_than: float) -> int:
    """Remove what killed processes left of their attempts, `older_than` seconds ago; return how many.

    A store may keep a body that was cut short. An attempt that a clock made look old finds fewer abilities, which harms
    nothing. Raises `StorageUnavailable`.
    """
    latest = datetime.now(UTC) - timedelta(seconds=older_than)
    async with answering(config.patience):
        found = await client.list_objects_v2(Bucket=config.bucket, Prefix=_FOLDER)
        old = [
            each["Key"]
            for each in found.get("Contents", [])
            if _KEY.fullmatch(each["Key"]) and each["Size"] <= len(_BODY) and each["LastModified"] <= latest
        ]
        for key in old:
            await client.delete_object(Bucket=config.bucket, Key=key)
    return len(old)


async def _verifies_checksums(client: S3Client, bucket: str, key: str) -> bool:
    right, wrong = _checksum(hashlib.sha256(_BODY).digest()), _checksum(bytes(32))
    return await _accepts(client, bucket, key, right) and not await _accepts(client, bucket, key, wrong)


async def _refuses_taken_keys(client: S3Client, bucket: str, key: str) -> bool:
    await client.put_object(Bucket=bucket, Key=key, Body=_BODY)
    try:
        await client.put_object(Bucket=bucket, Key=key, Body=_BODY, IfNoneMatch="*")
    except ClientError as error:
        if is_refusal(error):
            return is_taken(error)  # another refusal is one of the header itself
        raise
    return False


async def _accepts(client: S3Client, bucket: str, key: str, options: dict[str, str]) -> bool:
    try:
        await client.put_object(Bucket=bucket, Key=key, Body=_BODY, **options)  # type: ignore[arg-type]
    except ClientError as error:
        if is_refusal(error):
            return False
        raise
    return True


def _checksum(digest: bytes) -> dict[str, str]:
    return {"ChecksumSHA256": base64.b64encode(digest).decode()}
