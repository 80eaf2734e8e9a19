"""A range of one object as it comes over the wire, taken up again where the connection broke."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.adapters.s3.errors import answering
from service.domain.errors import ObjectMissing, StorageUnavailable

if TYPE_CHECKING:
    from aiobotocore.response import StreamingBody
    from types_aiobotocore_s3.client import S3Client
    from types_aiobotocore_s3.type_defs import GetObjectOutputTypeDef

    from service.adapters.s3.client import S3Config

CHUNK = 256 * 1024
RESUMES = 4
_PARTIAL_CONTENT = 206


@dataclass(frozen=True, slots=True)
class Source:
    """One object of the store."""

    client: S3Client
    config: S3Config
    key: str

    async def get(self, asked: str | None, etag: str | None = None) -> GetObjectOutputTypeDef:
        """Begin a GET of the range `asked`; raises the driver's errors, `StorageUnavailable` if ranges are ignored."""
        options = {name: value for name, value in (("Range", asked), ("IfMatch", etag)) if value is not None}
        answer = await self.client.get_object(Bucket=self.config.bucket, Key=self.key, **options)  # type: ignore[arg-type]
        if asked is not None and answer["ResponseMetadata"]["HTTPStatusCode"] != _PARTIAL_CONTENT:
            answer["Body"].close()
            raise StorageUnavailable("The store does not honour ranges.")
        return answer


class S3Stream:
    """`size` bytes of `source` from `start`, the first connection being `body`."""

    path = None

    def __init__(self, source: Source, body: StreamingBody | None, start: int, size: int, etag: str) -> None:
        self.size = size
        self._source = source
        self._body = body
        self._position = start
        self._end = start + size
        self._etag = etag
        self._resumes_left = RESUMES
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the bytes; raises `StorageUnavailable` when the store fails to supply the rest `RESUMES` times."""
        while self._position < self._end:
            if self._closed:
                raise StorageUnavailable("The stream was closed before its end.")
            chunk = await self._read()
            if chunk:
                self._position += len(chunk)
                yield chunk
            else:
                await self._resume()
        await self.aclose()

    async def aclose(self) -> None:
        """Give the connection back, or cut it when the body was not read to its end."""
        self._closed = True
        self._let_go()

    async def _read(self) -> bytes:
        """The next piece; nothing when the connection ended or broke."""
        if self._body is None:
            return b""
        try:
            async with answering(self._source.config.read_timeout):
                return await self._body.read(min(CHUNK, self._end - self._position))
        except StorageUnavailable:
            return b""

    async def _resume(self) -> None:
        self._let_go()
        if self._resumes_left == 0:
            raise StorageUnavailable("The store ended early, again and again.")
        self._resumes_left -= 1
        try:
            async with answering(self._source.config.patience, self._source.key):
                answer = await self._source.get(f"bytes={self._position}-{self._end - 1}", self._etag)
        except ObjectMissing as error:
            raise StorageUnavailable("The object went away while it was read.") from error
        self._body = answer["Body"]

    def _let_go(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None
