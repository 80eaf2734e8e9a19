"""One file to the store: whole up to `PART` bytes, else in parts of which none stays behind."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from anyio import CancelScope
from botocore.exceptions import ClientError

from service.adapters.keys import digest_of
from service.adapters.s3.abilities import Abilities, find_abilities, sweep_probes
from service.adapters.s3.body import FileRange
from service.adapters.s3.errors import answering, is_taken
from service.adapters.threads import in_thread
from service.domain.errors import RefkeepError, StorageUnavailable

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef

    from service.adapters.s3.client import S3Config

PART = 64 * 1024 * 1024
MAX_PARTS = 10_000
_MIB = 1024 * 1024


def part_size(size: int, smallest: int = PART) -> int:
    """Bytes of one part: `smallest`, or as many whole MiB as keep `size` within 10,000 parts."""
    needed = -(-size // MAX_PARTS)
    return max(smallest, -(-needed // _MIB) * _MIB)


class Uploader:
    """Sends files, having found out before the first one what the store honours."""

    def __init__(self, client: S3Client, config: S3Config) -> None:
        self._client = client
        self._config = config
        self._finding: asyncio.Task[Abilities] | None = None

    async def aclose(self) -> None:
        """Stop finding out. Idempotent."""
        if self._finding is not None:
            self._finding.cancel()
            await asyncio.wait({self._finding})

    async def send(self, path: Path, size: int, key: str) -> None:
        """Store the file under `key`; raises `StorageFull`, `StorageUnavailable`. Blocks to open the file."""
        abilities = await self._abilities()
        if size <= PART:
            await self._send_whole(path, size, key, abilities)
        else:
            await PartedUpload(self._client, self._config, abilities, path, size, key).send()

    async def sweep_probes(self, older_than: float) -> int:
        """Remove old attempts of other processes, once this one has made its own: until then it asks nothing."""
        if self._finding is None or not self._finding.done():
            return 0
        return await sweep_probes(self._client, self._config, older_than)

    async def _abilities(self) -> Abilities:
        """Ask the store once, for all who wait; anew after a failure."""
        if self._finding is None or (self._finding.done() and _failed(self._finding)):
            self._finding = asyncio.create_task(find_abilities(self._client, self._config))
        return await asyncio.shield(self._finding)

    async def _send_whole(self, path: Path, size: int, key: str, abilities: Abilities) -> None:
        options = abilities.checksum(digest_of(key)) | abilities.only_new()
        async with answering(self._config.upload_patience(size)):
            with FileRange(path, 0, size) as body:
                try:
                    await self._client.put_object(
                        Bucket=self._config.bucket,
                        Key=key,
                        Body=cast(IO[bytes], body),
                        ContentLength=size,
                        ContentType="application/octet-stream",
                        **options,  # type: ignore[arg-type]
                    )
                except ClientError as error:
                    await require_landed(self._client, self._config.bucket, key, size, error)


@dataclass(frozen=True, slots=True)
class PartedUpload:
    """One large file in parts, one after the other; an upload that fails or is cancelled is ended in the store too.

    What a killed process leaves behind needs a lifecycle rule of the bucket (`AbortIncompleteMultipartUpload`).
    """

    client: S3Client
    config: S3Config
    abilities: Abilities
    path: Path
    size: int
    key: str

    async def send(self) -> None:
        """Send all parts and join them; raises `StorageFull`, `StorageUnavailable`."""
        try:
            upload_id = await self._begin()
            step = part_size(self.size)
            starts = enumerate(range(0, self.size, step), 1)
            parts = [await self._send_part(upload_id, number, start, step) for number, start in starts]
            await self._join(upload_id, parts)
        except BaseException:
            with CancelScope(shield=True), contextlib.suppress(RefkeepError):
                await self._abort()
            raise

    async def _begin(self) -> str:
        algorithm = {"ChecksumAlgorithm": "SHA256"} if self.abilities.checksums else {}
        async with answering(self.config.patience):
            upload = await self.client.create_multipart_upload(
                Bucket=self.config.bucket,
                Key=self.key,
                ContentType="application/octet-stream",
                **algorithm,  # type: ignore[arg-type]
            )
        return upload["UploadId"]

    async def _send_part(self, upload_id: str, number: int, start: int, step: int) -> CompletedPartTypeDef:
        size = min(step, self.size - start)
        async with answering(self.config.upload_patience(size)):
            with FileRange(self.path, start, size) as body:
                checksum = self.abilities.checksum(await in_thread(body.sha256) if self.abilities.checksums else b"")
                sent = await self.client.upload_part(
                    Bucket=self.config.bucket,
                    Key=self.key,
                    UploadId=upload_id,
                    PartNumber=number,
                    Body=cast(IO[bytes], body),
                    ContentLength=size,
                    **checksum,  # type: ignore[arg-type]
                )
        return {"PartNumber": number, "ETag": sent["ETag"], **checksum}  # type: ignore[typeddict-item]

    async def _join(self, upload_id: str, parts: list[CompletedPartTypeDef]) -> None:
        async with answering(self.config.upload_patience(self.size)):
            try:
                await self.client.complete_multipart_upload(
                    Bucket=self.config.bucket,
                    Key=self.key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": parts},
                    **self.abilities.only_new(),  # type: ignore[arg-type]
                )
            except ClientError as error:
                await require_landed(self.client, self.config.bucket, self.key, self.size, error)

    async def _abort(self) -> None:
        """End every upload in parts to the key, one whose id was lost with its answer included.

        Who sends waits for it and a store that failed may go on failing: it gets a moment, a later sweep has the rest.
        """
        bucket = self.config.bucket
        async with answering(self.config.patience / 4):
            found = await self.client.list_multipart_uploads(Bucket=bucket, Prefix=self.key)
            for upload in found.get("Uploads", []):
                await self.client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def _failed(task: asyncio.Task[Abilities]) -> bool:
    return task.cancelled() or task.exception() is not None


async def require_landed(client: S3Client, bucket: str, key: str, size: int, error: ClientError) -> None:
    """Accept that `key` is taken, by an earlier attempt whose answer got lost: nobody else uses it."""
    if not is_taken(error):
        raise error
    found = await client.head_object(Bucket=bucket, Key=key)
    if found["ContentLength"] != size:
        raise StorageUnavailable("The store holds another object under this key.") from error
