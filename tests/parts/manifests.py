"""Manifests, and pictures for their rows."""

from __future__ import annotations

import csv
import io
import struct
import zlib
from collections.abc import Iterable, Mapping
from random import Random


def picture(seed: object, edge: int = 8) -> bytes:
    """A PNG of its own."""
    noise = Random(str(seed))
    lines = b"".join(b"\0" + noise.randbytes(edge * 3) for _ in range(edge))
    head = struct.pack(">IIBBBBB", edge, edge, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(lines)) + _chunk(b"IEND", b"")


def line(number: int, **changes: object) -> dict[str, object]:
    """A row: a picture of a marker of its own."""
    usual: dict[str, object] = {
        "workspace": "demo",
        "entity_type": "checkpoint_marker",
        "entity_id": f"m{number}",
        "role": "image",
        "order": number,
        "path": f"{number}.png",
        "source_id": f"marker:{number}",
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def as_csv(lines: Iterable[Mapping[str, object]]) -> bytes:
    """A manifest with all columns that the lines have."""
    found = [*lines]
    columns = [*dict.fromkeys(name for each in found for name in each)]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue().encode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
