"""What a store honours, seen by trying: many accept a header and ignore it, some refuse it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from dataclasses import dataclass
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
    key = f"probe/{uuid4().hex}"
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
