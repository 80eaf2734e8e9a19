"""Objects of one bucket of an S3-compatible store; uploads wait in a local spool until they are whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from service.adapters.keys import check_key, check_note, is_key
from service.adapters.s3.client import S3Config, connect
from service.adapters.s3.errors import answering, has_ended, is_beyond_end, is_missing
from service.adapters.s3.stream import S3Stream, Source
from service.adapters.s3.upload import Uploader
from service.adapters.spool import ABANDONED_AFTER, Spool, SpoolFile, os_errors
from service.adapters.threads import in_thread
from service.ports.storage import StoredObject

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client
    from types_aiobotocore_s3.type_defs import ListMultipartUploadsOutputTypeDef


class S3Staged:
    """A spool file that `commit` sends."""

    def __init__(self, file: SpoolFile, uploader: Uploader) -> None:
        self._file = file
        self._uploader = uploader

    @property
    def path(self) -> Path:
        """The spool file."""
        return self._file.path

    async def write(self, chunk: bytes) -> None:
        """Append `chunk`."""
        await self._file.write(chunk)

    async def flush(self) -> None:
        """Complete the spool file."""
        await self._file.flush()

    async def commit(self, key: str) -> None:
        """Send the file; in parts when it is large."""
        try:
            check_key(key)
            await self._file.flush()
            with os_errors():
                await self._uploader.send(self._file.path, self._file.size, key)
        finally:
            await self._file.discard()

    async def cancel(self) -> None:
        """Remove the spool file."""
        await self._file.discard()


class S3Storage:
    """Implements `Storage`. `aopen` before use, in the loop that uses it; `spool` is a local folder for uploads."""

    backend = "s3"

    def __init__(self, config: S3Config, spool: Path) -> None:
        self._config = config
        self._spool = Spool(spool)
        self._connection = AsyncExitStack()
        self._client: S3Client
        self._uploader: Uploader

    async def aopen(self) -> None:
        """Make the spool folder and the client. Asks nothing of the store: it may still be starting."""
        with os_errors():
            await in_thread(self._spool.prepare)
        self._client = await self._connection.enter_async_context(connect(self._config))
        self._uploader = Uploader(self._client, self._config)
        self._connection.push_async_callback(self._uploader.aclose)

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._connection.aclose()

    async def sweep_abandoned(self, older_than: float = ABANDONED_AFTER) -> int:
        """Remove uploads and probes of crashed processes, untouched for `older_than` seconds; return how many.

        Asks nothing of the store before the first upload.
        """
        return await self._spool.sweep_abandoned(older_than) + await self._uploader.sweep_probes(older_than)

    async def stage(self) -> S3Staged:
        """Open a place for bytes."""
        return S3Staged(self._spool.new(), self._uploader)

    async def open(self, key: str, offset: int = 0, length: int | None = None) -> S3Stream:
        """Begin a GET of the range."""
        source = Source(self._client, self._config, check_key(key))
        async with answering(self._config.patience, key):
            try:
                answer = await source.get(byte_range(offset, length))
            except ClientError as error:
                if not is_beyond_end(error):
                    raise
                return S3Stream(source, None, offset, 0, "")
        if length == 0:
            answer["Body"].close()
            return S3Stream(source, None, offset, 0, "")
        return S3Stream(source, answer["Body"], offset, answer["ContentLength"], answer["ETag"])

    async def delete(self, key: str) -> None:
        """Remove the object."""
        check_key(key)
        async with answering(self._config.patience):
            try:
                await self._client.delete_object(Bucket=self._config.bucket, Key=key)
            except ClientError as error:
                if not is_missing(error):
                    raise

    async def list(self, after: str = "") -> AsyncIterator[StoredObject]:
        """Page through the bucket in key order."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._config.bucket, StartAfter=start_after(after)
        )
        iterator = aiter(pages)
        while True:
            async with answering(self._config.patience):
                page = await anext(iterator, None)
            if page is None:
                return
            for found in page.get("Contents", []):
                if is_key(found["Key"]) and found["Key"] > after:
                    yield StoredObject(found["Key"], found["Size"], found["LastModified"].astimezone(UTC))

    async def read_note(self, name: str) -> bytes | None:
        """See `StoreNotes`: an object beside the folders of objects."""
        async with answering(self._config.patience):
            try:
                found = await self._client.get_object(Bucket=self._config.bucket, Key=check_note(name))
            except ClientError as error:
                if is_missing(error):
                    return None
                raise
            async with found["Body"] as body:
                return await body.read()

    async def write_note(self, name: str, content: bytes) -> None:
        """See `StoreNotes`."""
        async with answering(self._config.patience):
            await self._client.put_object(Bucket=self._config.bucket, Key=check_note(name), Body=content)

    async def end_unfinished(self, before: datetime, *, dry_run: bool = False) -> int:
        """See `UnfinishedUploads`; other users of the bucket keep theirs."""
        pages, ended = aiter(self._unfinished_pages()), 0
        while True:
            async with answering(self._config.patience):
                page = await anext(pages, None)
            if page is None:
                return ended
            for upload in page.get("Uploads", []):
                if is_key(upload["Key"]) and upload["Initiated"] < before:
                    ended += 1
                    if not dry_run:
                        await self._end_upload(upload["Key"], upload["UploadId"])

    async def check(self) -> None:
        """Ask for the bucket."""
        async with answering(self._config.patience):
            await self._client.head_bucket(Bucket=self._config.bucket)

    def _unfinished_pages(self) -> AsyncIterator[ListMultipartUploadsOutputTypeDef]:
        return self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._config.bucket)

    async def _end_upload(self, key: str, upload_id: str) -> None:
        async with answering(self._config.patience):
            try:
                await self._client.abort_multipart_upload(Bucket=self._config.bucket, Key=key, UploadId=upload_id)
            except ClientError as error:
                if not has_ended(error):
                    raise

    async def ensure_bucket(self) -> None:
        """Make the bucket unless it exists: for a first set-up, never done by itself."""
        async with answering(self._config.patience):
            try:
                await self._client.head_bucket(Bucket=self._config.bucket)
            except ClientError:
                await self._client.create_bucket(Bucket=self._config.bucket)


def byte_range(offset: int, length: int | None) -> str | None:
    """The `Range` for `length` bytes from `offset` (RFC 9110 §14.1.2), None for everything.

    An empty range cannot be asked for: one byte stands for it, so that a missing object still shows.
    """
    if length is None:
        return f"bytes={offset}-" if offset else None
    return f"bytes={offset}-{offset + max(length, 1) - 1}"


def start_after(after: str) -> str:
    """Where a listing may safely start: SeaweedFS skips all of `00/` when told to start after `00` or `00/a`."""
    return after if is_key(after) else after[: after.rfind("/") + 1]
