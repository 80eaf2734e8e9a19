"""Do the compressed pixels of a PNG end where their chunks do? What follows them is seen by nobody; pure."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from service.adapters.vips.malformed import Malformed

_PIECE = 1 << 20
_ADAM7 = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))


class PngPixels:
    """Follows the compressed pixels of one frame after the other, and sees that each stream ends with its chunks."""

    def __init__(self) -> None:
        self._stream: Any = None  # zlib names its type only in stubs
        self._header = b""
        self._size, self._left = (0, 0), 0

    def follow(self, kind: bytes, content: bytes) -> None:
        """The next chunk. Raises `Malformed`."""
        if kind == b"IHDR":
            self._header, self._size = content, struct.unpack_from(">II", content)
        elif kind == b"fcTL":
            self.finish()
            self._size = struct.unpack_from(">II", content, 4)
        elif kind in {b"IDAT", b"fdAT"}:
            self._inflate(content[4:] if kind == b"fdAT" else content)

    def finish(self) -> None:
        """The frame is over. Raises `Malformed`."""
        if self._stream is not None and not (self._stream.eof and self._left == 0):
            raise Malformed("the pixels do not end where they should")
        self._stream = None

    def _inflate(self, content: bytes) -> None:
        if self._stream is None:
            self._stream, self._left = zlib.decompressobj(), _bytes_of(self._header, *self._size)
        while content:
            try:
                self._left -= len(self._stream.decompress(content, _PIECE))
            except zlib.error as error:
                raise Malformed("the pixels are not compressed") from error
            if self._left < 0 or self._stream.unused_data or (self._stream.eof and not content):
                raise Malformed("more than the pixels")
            content = self._stream.unconsumed_tail


def _bytes_of(header: bytes, width: int, height: int) -> int:
    """Of the filtered lines of a frame (PNG third edition §7, §8), one after the other."""
    depth, colour_type, interlaced = header[8], header[9], header[12]
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour_type, 1)
    passes = _ADAM7 if interlaced else ((0, 1, 0, 1),)
    sizes = [(-((x - width) // dx), -((y - height) // dy)) for x, dx, y, dy in passes]
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)
