"""Several ranges as one `multipart/byteranges` body of known length (RFC 9110 §14.6), opened part by part."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.delivery.ranges import ByteRange
from service.domain.errors import ObjectMissing, StorageUnavailable
from service.ports.descriptors import ServableBytes
from service.ports.storage import ByteStream, Storage


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a body lie: the text before each of them and after the last.

    The boundary comes from the content's own hash, so that all replicas send the same bytes; content that holds its own
    hash cannot be made.
    """

    content: ServableBytes
    ranges: Sequence[ByteRange]

    @property
    def boundary(self) -> str:
        """The delimiter between parts, without its dashes."""
        return f"refkeep-{self.content.sha256[:40]}"

    @property
    def tail(self) -> bytes:
        """The text after the last part."""
        return f"\r\n--{self.boundary}--\r\n".encode()

    @property
    def size(self) -> int:
        """Bytes of the whole body: texts and parts."""
        parts = sum(len(self.head(place)) + part.length for place, part in enumerate(self.ranges))
        return parts + len(self.tail)

    def head(self, place: int) -> bytes:
        """Return the text before the part at `place`, counted from 0."""
        part = self.ranges[place]
        return (
            f"{chr(13) + chr(10) if place else ''}--{self.boundary}\r\n"
            f"Content-Type: {self.content.media_type}\r\n"
            f"Content-Range: bytes {part.first}-{part.last}/{self.content.size}\r\n\r\n"
        ).encode("latin-1")


class PartsStream:
    """A `ByteStream` over a layout: at most one part is open at any time, the first from the start."""

    def __init__(self, layout: Layout, storage: Storage, first: ByteStream) -> None:
        self._layout, self._storage, self._open = layout, storage, first

    @property
    def size(self) -> int:
        """Bytes of the whole body."""
        return self._layout.size

    @property
    def path(self) -> Path | None:
        """No file holds such a body."""
        return None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body in order, once; raises `StorageUnavailable` when a later part cannot be opened."""
        for place, part in enumerate(self._layout.ranges):
            if place:
                await self._open.aclose()
                self._open = await self._next(part)
            yield self._layout.head(place)
            async for chunk in self._open:
                yield chunk
        yield self._layout.tail

    async def _next(self, part: ByteRange) -> ByteStream:
        try:
            return await open_range(self._storage, self._layout.content, part)
        except ObjectMissing as error:  # it was there for the first part
            raise StorageUnavailable("The object vanished while it was being sent.") from error

    async def aclose(self) -> None:
        """Close the part that is open."""
        await self._open.aclose()


async def open_whole(storage: Storage, content: ServableBytes) -> ByteStream:
    """Open all bytes; raises `ObjectMissing` or `StorageUnavailable`, the latter also for an object of another size."""
    return await _of_size(await storage.open(content.storage_key), content.size)


async def open_range(storage: Storage, content: ServableBytes, part: ByteRange) -> ByteStream:
    """Open one range; errors as of `open_whole`."""
    return await _of_size(await storage.open(content.storage_key, part.first, part.length), part.length)


async def open_parts(storage: Storage, layout: Layout) -> PartsStream:
    """Open several ranges as one body; errors of the first one show here, those of later ones while it is read."""
    return PartsStream(layout, storage, await open_range(storage, layout.content, layout.ranges[0]))


async def read_all(stream: ByteStream) -> bytes:
    """Read a stream to its end and close it; raises `StorageUnavailable` where it ends short of its size."""
    try:
        body = b"".join([chunk async for chunk in stream])
    finally:
        await stream.aclose()
    if len(body) != stream.size:
        raise StorageUnavailable("The store ended before the object did.")
    return body


async def _of_size(stream: ByteStream, size: int) -> ByteStream:
    if stream.size == size:
        return stream
    await stream.aclose()
    raise StorageUnavailable("The store holds another number of bytes than was written.")
