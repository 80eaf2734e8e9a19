"""Bytes that no other test has sent: real media that is made up, with nothing in it but the picture."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from uuid import uuid4

import pyvips

from tests import samples
from tests.parts.pictures import chunk


def fresh_jpeg(width: int = 96, height: int = 64) -> bytes:
    """A JPEG of this size in shades of its own: its first quantisation table ends in numbers that are made up."""
    picture, numbers = _bare_jpeg(width, height), bytes(byte or 1 for byte in uuid4().bytes)
    end = picture.index(b"\xff\xdb") + 5 + 64
    return picture[: end - len(numbers)] + numbers + picture[end:]


@cache
def _bare_jpeg(width: int, height: int) -> bytes:
    image = pyvips.Image.new_from_buffer(samples.jpeg(width, height), "")
    return bytes(image.jpegsave_buffer(Q=85, keep="none"))


def fresh_png() -> bytes:
    """A PNG, 96 × 64, of colours that are made up."""
    header = struct.pack(">IIBBBBB", 96, 64, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + uuid4().bytes * 18) * 64)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def fresh_text(size: int = 200) -> bytes:
    """`size` bytes of plain text."""
    return uuid4().hex.encode().ljust(size, b".")
