"""Does a file hold all that it announces? Only what the decoders themselves do not notice.

libvips answers a PNG without its IEND and an animated GIF that stops half-way with the pictures that are there;
FFmpeg ends at the last whole packet without a word.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import IO

from service.adapters.vips.containers import elements

_PIECE = 1 << 20
_HEADER = 4096
_SEGMENT = 0x18538067


def png_is_whole(file: IO[bytes]) -> bool:
    """Every chunk up to IEND is there and its CRC holds (PNG third edition §5.3), animation frames included."""
    file.seek(8)
    while len(header := file.read(8)) == 8:
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        checksum = zlib.crc32(kind)
        while length > 0 and (piece := file.read(min(length, _PIECE))):
            checksum, length = zlib.crc32(piece, checksum), length - len(piece)
        if length or file.read(4) != checksum.to_bytes(4, "big"):
            return False
        if kind == b"IEND":
            return True
    return False


def apng_is_whole(file: IO[bytes]) -> bool:
    """A whole PNG that holds as many frame controls as it announces frames; libvips reads its default picture alone."""
    return png_is_whole(file) and sum(kind == b"fcTL" for kind, _ in _chunks(file)) == apng_frames(file)


def apng_frames(file: IO[bytes]) -> int | None:
    """Frames that the animation control chunk announces (PNG third edition §11.3.6.1), None without a valid one."""
    for kind, start in _chunks(file):
        if kind == b"acTL":
            file.seek(start)
            frames = int.from_bytes(file.read(4), "big")
            return frames if 0 < frames < 1 << 31 else None
    return None


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    at = 8
    while file.seek(at) and len(header := file.read(8)) == 8:
        yield header[4:], at + 8
        at += 12 + int.from_bytes(header[:4], "big")


def gif_is_whole(file: IO[bytes]) -> bool:
    """Blocks follow one another to the trailer (GIF89a §27)."""
    file.seek(10)
    screen = file.read(3)
    _skip_colours(file, screen[:1])
    while block := file.read(1):
        if block == b";":
            return True
        if block == b",":
            _skip_colours(file, file.read(9)[8:])
        elif block != b"!":
            return False
        file.seek(1, io.SEEK_CUR)  # the extension's label, or the code size of the pixels
        while length := file.read(1):
            if length == b"\0":
                break
            file.seek(length[0], io.SEEK_CUR)
    return False


def _skip_colours(file: IO[bytes], flags: bytes) -> None:
    if flags and flags[0] & 0x80:
        file.seek(3 << ((flags[0] & 7) + 1), io.SEEK_CUR)


def boxes_are_whole(file: IO[bytes]) -> bool:
    """The top-level boxes of an ISO base media file end within it, `moov` among them (ISO/IEC 14496-12 §4.2)."""
    end, at, kinds = file.seek(0, io.SEEK_END), 0, set()
    while at < end:
        file.seek(at)
        header = file.read(16)
        size = int.from_bytes(header[:4], "big")
        size = int.from_bytes(header[8:16], "big") if size == 1 else size or end - at
        if size < 8 or at + size > end:
            return False
        kinds.add(header[4:8])
        at += size
    return b"moov" in kinds


def riff_is_whole(file: IO[bytes]) -> bool:
    """The size in the RIFF header fits the file; writers to a pipe leave it 0 or all ones."""
    end = file.seek(0, io.SEEK_END)
    file.seek(4)
    announced = int.from_bytes(file.read(4), "little")
    return announced in {0, 0xFFFFFFFF} or announced + 8 <= end


def segment_is_whole(file: IO[bytes]) -> bool:
    """The Matroska segment ends within the file (RFC 9559 §5.1); a live recording states no size."""
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    sizes = [(at, size) for name, at, size in elements(file.read(_HEADER), 0) if name == _SEGMENT]
    return any(size is None or at + size <= end for at, size in sizes)
