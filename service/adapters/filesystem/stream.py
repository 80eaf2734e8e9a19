"""A range of one file, read in worker threads."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from io import FileIO
from pathlib import Path

from service.adapters.spool import os_errors
from service.adapters.threads import in_thread
from service.domain.errors import StorageUnavailable

CHUNK = 512 * 1024


class FileStream:
    """`size` bytes of `file` from `start`; `path` is set when they are the whole file."""

    def __init__(self, file: FileIO, start: int, size: int, path: Path | None) -> None:
        self.size = size
        self.path = path
        self._file = file
        self._start = start

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
        with os_errors():
            chunk = await in_thread(lambda: os.pread(self._file.fileno(), size, position))
        if not chunk:
            raise StorageUnavailable("The file ended before the object did.")
        return chunk


def open_range(path: Path, offset: int, length: int | None) -> FileStream:
    """Open `length` bytes from `offset`, clamped to the file. Blocks; raises `OSError`, also for what is no file."""
    file = FileIO(path, opener=_open_for_reading)
    available = max(0, os.fstat(file.fileno()).st_size - offset)
    size = available if length is None else min(length, available)
    whole = offset == 0 and size == available
    return FileStream(file, offset, size, path if whole else None)


def _open_for_reading(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)
