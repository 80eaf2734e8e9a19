"""The tables of a JPEG that a scan is decoded with; pure. Any others are room for what is not the picture."""

from __future__ import annotations

from collections.abc import Sequence

from service.adapters.vips.malformed import Malformed

_BASELINE, _EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
FRAMES = frozenset({_BASELINE, _EXTENDED, PROGRESSIVE})
"""Those that browsers decode: Huffman codes, 8 or 12 bits."""
QUANTISATION, HUFFMAN, SCAN = 0xDB, 0xC4, 0xDA

Segment = tuple[int, bytes]
"""Its marker, and all of its bytes; of a scan its pixels as well."""
_Name = tuple[int, int]
"""A kind of tables, and the byte that a table begins with but for what says how long it is."""
_Place = tuple[int, int]
"""The number of a segment, and of a table in it."""


def with_used_tables(segments: Sequence[Segment]) -> list[bytes]:
    """The segments; of tables (ITU T.81 §B.2.4) those alone that a scan uses before they are defined anew.

    Raises `Malformed`, where there is not one frame, with scans behind it, that is decoded with these tables.
    """
    if [marker in FRAMES for marker, _ in segments].count(True) != 1:
        raise Malformed("not one frame")
    frame: Segment | None = None
    defined, used, latched = dict[_Name, _Place](), set[_Place](), set[int]()
    for number, (marker, segment) in enumerate(segments):
        if marker in FRAMES:
            frame = (marker, segment)
        elif marker in {QUANTISATION, HUFFMAN}:
            defined |= {_name(marker, table): (number, at) for at, table in enumerate(_tables(marker, segment))}
        elif marker == SCAN and frame is None:
            raise Malformed("a scan of no frame")
        elif marker == SCAN and frame is not None:
            used |= {defined.pop(name) for name in _names(frame, segment, latched) if name in defined}
    return [_rebuilt(number, segment, used) for number, (_, segment) in enumerate(segments)]


def _tables(marker: int, segment: bytes) -> list[bytes]:
    found, at = [], 4
    while at < len(segment):
        size = 17 + sum(segment[at + 1 : at + 17]) if marker == HUFFMAN else 65 + 64 * (segment[at] >> 4)
        if at + size > len(segment):
            raise Malformed("a table is cut short")
        found.append(segment[at : at + size])
        at += size
    return found


def _name(marker: int, table: bytes) -> _Name:
    return marker, table[0] if marker == HUFFMAN else table[0] & 15


def _names(frame: Segment, scan: bytes, latched: set[int]) -> set[_Name]:
    """What a scan uses. The quantisation of a component is that of its first scan (libjpeg, latch_quant_tables)."""
    kind, header = frame
    quantisation = {header[at]: header[at + 2] for at in range(10, len(header) - 2, 3)}
    components = {scan[at]: scan[at + 1] for at in range(5, 5 + 2 * scan[4], 2)}
    fresh = components.keys() & quantisation.keys() - latched
    latched |= fresh
    first, high = scan[5 + 2 * scan[4]], scan[7 + 2 * scan[4]] >> 4
    has_direct = kind != PROGRESSIVE or (first == 0 and high == 0)
    has_waves = kind != PROGRESSIVE or first > 0
    return (
        {(QUANTISATION, quantisation[each]) for each in fresh}
        | {(HUFFMAN, tables >> 4) for tables in components.values() if has_direct}
        | {(HUFFMAN, 0x10 | tables & 15) for tables in components.values() if has_waves}
    )


def _rebuilt(number: int, segment: bytes, used: set[_Place]) -> bytes:
    marker = segment[1]
    if marker not in {QUANTISATION, HUFFMAN}:
        return segment
    tables = b"".join(table for at, table in enumerate(_tables(marker, segment)) if (number, at) in used)
    return segment[:2] + (len(tables) + 2).to_bytes(2, "big") + tables if tables else b""
