"""A range of one file, read in worker threads."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from io import FileIO
from pathlib import Path

from service.adapters.filesystem.cached import open_cached, read_cached
from service.adapters.spool import os_errors
from service.adapters.threads import in_thread
from service.domain.errors import StorageUnavailable

CHUNK = 512 * 1024


class FileStream:
    """`size` bytes of `file` from `start`; `path` is set when they are the whole file.

    What is `cached` is looked for in memory first, whose part of it comes without a thread.
    """

    def __init__(self, file: FileIO, start: int, size: int, path: Path | None, *, cached: bool = False) -> None:
        self.size = size
        self.path = path
        self._file = file
        self._start = start
        self._cached = cached

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the bytes; raises `StorageUnavailable` when the file turns out shorter."""
        position, end = self._start, self._start + self.size
        while position < end:
            chunk = await self._read(position, min(CHUNK, end - position))
            position += len(chunk)
            yield chunk

    async def aclose(self) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()

    async def _read(self, position: int, size: int) -> bytes:
        if self._file.closed:
            raise StorageUnavailable("The stream was closed before its end.")
        if self._cached and (cached := read_cached(self._file.fileno(), size, position)) is not None:
            return cached
        with os_errors():
            chunk = await in_thread(lambda: os.pread(self._file.fileno(), size, position))
        if not chunk:
            raise StorageUnavailable("The file ended before the object did.")
        return chunk


def open_range(path: Path, offset: int, length: int | None) -> FileStream:
    """Open `length` bytes from `offset`, clamped to the file. Blocks; raises `OSError`, also for what is no file."""
    return _range_of(FileIO(path, opener=_open_for_reading), path, offset, length, cached=False)


def open_cached_range(path: Path, offset: int, length: int | None) -> FileStream | None:
    """The same without waiting, None for a file that the kernel has not at hand; only where `may_be_cached` says so."""
    descriptor = open_cached(path)
    if descriptor is None:
        return None
    try:
        file = FileIO(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    return _range_of(file, path, offset, length, cached=True)


def _range_of(file: FileIO, path: Path, offset: int, length: int | None, *, cached: bool) -> FileStream:
    available = max(0, os.fstat(file.fileno()).st_size - offset)
    size = available if length is None else min(length, available)
    whole = offset == 0 and size == available
    return FileStream(file, offset, size, path if whole else None, cached=cached)


def _open_for_reading(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)
