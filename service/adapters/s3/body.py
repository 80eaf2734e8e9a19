"""A piece of a file as the body of a request."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

_MIB = 1024 * 1024


class FileRange(io.RawIOBase):
    """`size` bytes of a file from `start`, read where the HTTP client asks for them; rewinds for another attempt."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        super().__init__()
        self._file = io.FileIO(path)
        self._start, self._size, self._position = start, size, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Bytes from the start of the range."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move within the range."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = origin + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes, nothing at the end of the range."""
        left = max(0, self._size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        chunk = os.pread(self._file.fileno(), wanted, self._start + self._position)
        self._position += len(chunk)
        return chunk

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def sha256(self) -> bytes:
        """The digest of the range. Blocks; leaves the position at the start."""
        digest = hashlib.sha256()
        while chunk := self.read(_MIB):
            digest.update(chunk)
        self.seek(0)
        return digest.digest()
