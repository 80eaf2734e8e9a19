"""Bytes to send, from wherever they come, without ever being in memory all at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

PIECE_BYTES = 256 * 1024

Pieces = AsyncIterable[bytes] | Iterable[bytes]
Content = bytes | bytearray | memoryview | Path | BinaryIO | Pieces | Callable[[], Pieces]
"""What can be sent.

Bytes, a path, a file that is open for reading bytes (from where it stands), an iterator of pieces, or a function that
makes such an iterator. All but a bare iterator and a file that cannot seek can be sent again after a failure.
"""

_END = object()


@dataclass(frozen=True, slots=True)
class Source:
    """Content that can be read: `size` in bytes where it is known, `rewindable` when it can be read again."""

    read: Callable[[], AsyncGenerator[bytes, None]]
    size: int | None
    rewindable: bool


def source_of(content: Content, size: int | None = None) -> Source:
    """Content as a source; `size` is for content that does not tell it. Raises `TypeError`, `OSError`."""
    match content:
        case bytes() | bytearray() | memoryview():
            view = memoryview(content).cast("B")
            return Source(lambda: _slices(view), len(view), rewindable=True)
        case Path():
            return Source(lambda: _path_pieces(content), content.stat().st_size, rewindable=True)
        case str():
            raise TypeError("Text is no content: give bytes, or a pathlib.Path.")
        case list() | tuple():
            return Source(lambda: _iterable_pieces(content), sum(map(len, content)), rewindable=True)
    if callable(getattr(content, "read", None)) and callable(getattr(content, "seekable", None)):
        return _file_source(cast("BinaryIO", content), size)
    if isinstance(content, AsyncIterable | Iterable):
        return Source(lambda: _pieces(cast("Pieces", content)), size, rewindable=False)
    if callable(content):
        return Source(lambda: _pieces(content()), size, rewindable=True)
    raise TypeError(f"{type(content).__name__} is no content: give bytes, a path, a file, or pieces of bytes.")


def _file_source(file: BinaryIO, size: int | None) -> Source:
    if not file.seekable():
        return Source(lambda: _file_pieces(file), size, rewindable=False)
    start = file.tell()
    length = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    return Source(lambda: _file_pieces(file, start), length, rewindable=True)


def _pieces(pieces: Pieces) -> AsyncGenerator[bytes, None]:
    return _async_pieces(pieces) if isinstance(pieces, AsyncIterable) else _iterable_pieces(pieces)


async def _async_pieces(pieces: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    async for piece in pieces:
        yield piece


async def _slices(view: memoryview) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(view), PIECE_BYTES):
        yield bytes(view[start : start + PIECE_BYTES])


async def _iterable_pieces(pieces: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Each piece is asked for in a thread: whoever makes them may block."""
    iterator = iter(pieces)
    while (piece := await asyncio.to_thread(next, iterator, _END)) is not _END:
        yield cast("bytes", piece)


async def _path_pieces(path: Path) -> AsyncGenerator[bytes, None]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        async for piece in _file_pieces(file):
            yield piece
    finally:
        file.close()


async def _file_pieces(file: BinaryIO, start: int | None = None) -> AsyncGenerator[bytes, None]:
    if start is not None:
        await asyncio.to_thread(file.seek, start)
    while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
        if not isinstance(piece, bytes):
            raise TypeError("The file is open for text: open it in binary mode.")
        yield piece
