"""Bytes that no other test has sent: real media with a remark that is made up."""

from __future__ import annotations

import struct
import zlib
from uuid import uuid4

from tests import samples


def fresh_jpeg(width: int = 96, height: int = 64) -> bytes:
    """A JPEG with a comment segment of its own."""
    picture, remark = samples.jpeg(width, height), uuid4().bytes
    return picture[:2] + b"\xff\xfe" + struct.pack(">H", len(remark) + 2) + remark + picture[2:]


def fresh_png() -> bytes:
    """A PNG with a text chunk of its own."""
    picture, text = samples.png(), b"tEXtComment\0" + uuid4().hex.encode()
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    end_of_header = 8 + 12 + 13
    return picture[:end_of_header] + chunk + picture[end_of_header:]


def fresh_text(size: int = 200) -> bytes:
    """`size` bytes of plain text."""
    return uuid4().hex.encode().ljust(size, b".")
