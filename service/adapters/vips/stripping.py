"""Files without what is not their picture, pixel for pixel as they were; pure.

Only what a decoder needs is kept, by name: whatever is not on the list goes, and so does what follows the end. EXIF,
XMP, comments, thumbnails, gain maps, and the other half of a file that is two things at once.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator

from service.adapters.vips.jpeg_tables import FRAMES, HUFFMAN, QUANTISATION, SCAN, Segment, with_used_tables
from service.adapters.vips.malformed import Malformed
from service.adapters.vips.png_pixels import PngPixels

_JPEG_RESTARTS = 0xDD
_JPEG_KEPT = FRAMES | {QUANTISATION, HUFFMAN, SCAN, _JPEG_RESTARTS}
_JPEG_ONCE = frozenset({0xE0, 0xEE, _JPEG_RESTARTS})
_JPEG_WITHOUT_CONTENT = frozenset(range(0xD0, 0xD9)) | {0x01}
_SCAN_END = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
_PNG_CHUNKS = frozenset(b"IHDR PLTE IDAT IEND tRNS acTL fcTL fdAT".split())
_PNG_EXACTLY = {b"IHDR": 13, b"IEND": 0, b"acTL": 8, b"fcTL": 26}
_PNG_ONCE = {b"gAMA": {4}, b"cHRM": {32}, b"sRGB": {1}, b"sBIT": {1, 2, 3, 4}, b"pHYs": {9}}
_PNG_ONCE |= {b"cICP": {4}, b"mDCV": {24}, b"cLLI": {8}, b"tRNS": set(range(257)), b"PLTE": set(range(3, 769, 3))}
"""Lengths that they may have: a decoder passes over one of another length, or a second one."""
_PNG_LIGHT = {b"mDCV", b"cLLI"}
_PNG_WITHOUT_PALETTE = {0, 2, 4, 6}
_WEBP_PIXELS = frozenset({b"ALPH", b"VP8 ", b"VP8L"})
_WEBP_FRAMES = {(b"VP8 ",), (b"VP8L",), (b"ALPH", b"VP8 ")}
_WEBP_EXACTLY = {b"VP8X": 10, b"ANIM": 6}
_WEBP_CHUNKS = _WEBP_PIXELS | {b"VP8X", b"ANIM", b"ANMF"}
_WEBP_ANIMATED, _WEBP_ALPHA, _WEBP_PROFILE = 0x02, 0x10, 0x20
_LOOPS = (b"\x0bNETSCAPE2.0\x03\x01", b"\x0bANIMEXTS1.0\x03\x01")
_LOOP_SIZE = 18
"""Bytes up to the number of rounds; nothing more belongs there."""
_AVIF_META = frozenset({b"hdlr", b"pitm", b"iinf", b"iloc", b"iprp", b"iref"})
_AVIF_PROPERTIES = frozenset(
    b"ispe pixi av1C colr auxC irot imir pasp clap a1op lsel clli mdcv".split()
)  # fmt: skip
_AVIF_LINKS = frozenset({b"auxl", b"dimg", b"prem"})
_AVIF_ALPHA = {b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", b"urn:mpeg:hevc:2015:auxid:1\0"}
_AVIF_HANDLER_MAX, _AVIF_ENTRY_MAX = 32, 22
"""Bytes of a handler, and of an item, with the short names that libavif gives them."""
_ICC_START = b"ICC_PROFILE\0"

Box = tuple[bytes, int, int]
"""A kind, and where its content begins and ends."""


def stripped(data: bytes, media_type: str, *, keep_profile: bool) -> bytes | None:
    """The file without what goes; `data` itself when nothing does, None where only encoding anew can tell.

    Raises `Malformed`.
    """
    try:
        if media_type == "image/avif":
            return data if _avif_is_bare(data) else None
        return b"".join(_WALKS[media_type](data, keep_profile))
    except (IndexError, struct.error) as error:
        raise Malformed(media_type) from error


def _jpeg(data: bytes, keep_profile: bool) -> Iterator[bytes]:
    """ITU T.81 §B.1.1: what is needed of the segments, between the marks of beginning and end."""
    yield data[:2]
    segments, seen = list[Segment](), set[int]()
    for marker, segment in jpeg_segments(data):
        if _jpeg_needs(marker, segment[4:], keep_profile):
            if marker in _JPEG_ONCE & seen:
                raise Malformed("a segment stands twice")
            segments.append((marker, segment))
            seen.add(marker)
    yield from with_used_tables(segments)
    yield b"\xff\xd9"


def jpeg_segments(data: bytes) -> Iterator[Segment]:
    """Of a file, each from its marker on, scans up to the next marker. Raises `Malformed`, `IndexError`."""
    at = 2
    while True:
        if data[at] != 0xFF:
            raise Malformed("a marker is missing")
        while data[at + 1] == 0xFF:
            at += 1
        marker = data[at + 1]
        if marker == 0xD9:
            return
        if marker in _JPEG_WITHOUT_CONTENT:
            raise Malformed("a marker stands where none may stand")
        end = _jpeg_segment_end(data, at, marker)
        yield marker, data[at:end]
        at = end


def _jpeg_segment_end(data: bytes, at: int, marker: int) -> int:
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    if end - at < 4 or end > len(data):
        raise Malformed("a segment is cut short")
    if marker != 0xDA:
        return end
    if (found := _SCAN_END.search(data, end)) is None:
        raise Malformed("the scan has no end")
    return found.start()


def _jpeg_needs(marker: int, segment: bytes, keep_profile: bool) -> bool:
    """Frames, tables, scans; of the applications' segments JFIF without a thumbnail, Adobe's colours, a profile."""
    if marker == 0xE0:
        return segment.startswith(b"JFIF\0") and len(segment) == 14
    if marker == 0xE2:
        return keep_profile and segment.startswith(_ICC_START)
    if marker == 0xEE:
        return segment.startswith(b"Adobe") and len(segment) == 12
    return marker in _JPEG_KEPT


def _png(data: bytes, keep_profile: bool) -> Iterator[bytes]:
    """PNG third edition §5.3: chunks up to IEND; pixels that end before their chunks do are not all that is there."""
    yield data[:8]
    at, seen = 8, set[bytes]()
    pixels = PngPixels()
    while True:
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if len(kind) < 4 or end > len(data):
            raise Malformed("a chunk is cut short")
        if end - at - 12 != _PNG_EXACTLY.get(kind, end - at - 12):
            raise Malformed("a chunk of another length")
        pixels.follow(kind, data[at + 8 : end - 4])
        if _png_needs(kind, end - at - 12, seen, data[25], keep_profile=keep_profile):
            yield data[at:end]
        seen.add(kind)
        if kind == b"IEND":
            pixels.finish()
            return
        at = end


def _png_needs(kind: bytes, length: int, seen: set[bytes], colour_type: int, *, keep_profile: bool) -> bool:
    if (kind in _PNG_ONCE and b"IDAT" in seen) or (kind in _PNG_LIGHT and not keep_profile):
        return False  # a decoder passes over it; the light of a screen means nothing in sRGB
    if kind in _PNG_ONCE:
        is_palette_of_none = kind == b"PLTE" and colour_type in _PNG_WITHOUT_PALETTE
        return length in _PNG_ONCE[kind] and kind not in seen and not is_palette_of_none
    return kind in _PNG_CHUNKS or (kind == b"iCCP" and keep_profile)


def _webp(data: bytes, keep_profile: bool) -> Iterator[bytes]:
    """RFC 9649 §2: chunks within the size that RIFF states; the flags of VP8X say what is left."""
    size = struct.unpack_from("<I", data, 4)[0]
    if size + 8 > len(data):
        raise Malformed("the file is cut short")
    kept = list[tuple[bytes, bytes]]()
    for kind, content in _webp_chunks(data, 12, size + 8):
        if kind == b"ANMF":
            frame = [each for each in _webp_chunks(content, 16, len(content)) if each[0] in _WEBP_PIXELS]
            kept.append((kind, content[:16] + _webp_joined(_pixels_once(frame))))
        elif kind in _WEBP_CHUNKS or (kind == b"ICCP" and keep_profile):
            kept.append((kind, content))
    kinds = [kind for kind, _ in kept]
    if b"ANMF" not in kinds:
        _pixels_once([each for each in kept if each[0] in _WEBP_PIXELS])
    if any(len(content) != _WEBP_EXACTLY.get(kind, len(content)) for kind, content in kept) or any(
        kinds.count(kind) > 1 for kind in (*_WEBP_EXACTLY, b"ICCP")
    ):
        raise Malformed("a chunk of another length, or twice")
    yield webp_file((kind, _webp_flags(each, keep_profile) if kind == b"VP8X" else each) for kind, each in kept)


def _webp_chunks(data: bytes, at: int, stop: int) -> Iterator[tuple[bytes, bytes]]:
    while at < stop:
        kind, length = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        end = at + 8 + length + length % 2
        if end > stop:
            raise Malformed("a chunk is cut short")
        yield kind, data[at + 8 : at + 8 + length]
        at = end


def webp_file(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The file of these chunks."""
    body = _webp_joined(chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def webp_frames(data: bytes) -> Iterator[list[tuple[bytes, bytes]]]:
    """Of a stripped file, the chunks of a file of its own for each frame."""
    chunks = list(_webp_chunks(data, 12, len(data)))
    if all(kind != b"ANMF" for kind, _ in chunks):
        yield [(kind, each) for kind, each in chunks if kind in _WEBP_PIXELS | {b"VP8X"}]
    for kind, each in chunks:
        if kind == b"ANMF":
            size, pixels = each[6:12], list(_webp_chunks(each, 16, len(each)))
            flags = _WEBP_ALPHA if pixels[0][0] == b"ALPH" else 0
            yield [(b"VP8X", bytes([flags, 0, 0, 0]) + size), *pixels]


def _webp_joined(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(kind + struct.pack("<I", len(each)) + each + b"\0" * (len(each) % 2) for kind, each in chunks)


def _pixels_once(chunks: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Pixels stand once in a frame (RFC 9649 §2.7.1.1), with their transparency before them."""
    if tuple(kind for kind, _ in chunks) not in _WEBP_FRAMES:
        raise Malformed("not one picture")
    return chunks


def _webp_flags(content: bytes, keep_profile: bool) -> bytes:
    """VP8X: that there are metadata is no longer so, and what is reserved is zero."""
    kept = _WEBP_ANIMATED | _WEBP_ALPHA | (_WEBP_PROFILE if keep_profile else 0)
    return bytes([content[0] & kept, 0, 0, 0]) + content[4:]


def _gif(data: bytes, _keep_profile: bool) -> Iterator[bytes]:
    """GIF89a §15-27: the screen, then blocks up to the trailer."""
    at = 13 + _colours(data[10])
    yield data[:at]
    control = b""
    while data[at : at + 1] != b";":
        start, kind = at, data[at : at + 1]
        if kind == b",":
            _within_screen(data, at)
            at = _after_blocks(data, at + 11 + _colours(data[at + 9]))
            yield control + data[start:at]
            control = b""
        elif kind == b"!":
            at = _after_blocks(data, at + 2)
            if data[start + 1] == 0xF9:
                control = _gif_control(data[start:at])
            elif data[start + 1] == 0xFF and data[start + 2 : at].startswith(_LOOPS):
                yield data[start : start + _LOOP_SIZE] + b"\0"
        else:
            raise Malformed("a block of no kind")
    yield b";"


def _gif_control(block: bytes) -> bytes:
    """GIF89a §23: of the one picture behind it, four bytes."""
    if len(block) != 8 or block[2] != 4:
        raise Malformed("a control of another length")
    return block


def _within_screen(data: bytes, at: int) -> None:
    """A picture beside the screen is seen by nobody."""
    screen_width, screen_height = struct.unpack_from("<HH", data, 6)
    left, top, width, height = struct.unpack_from("<HHHH", data, at + 1)
    if not (0 < width <= screen_width - left and 0 < height <= screen_height - top):
        raise Malformed("a picture beside the screen")


def _colours(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    while length := data[at]:
        at += 1 + length
    return at + 1


def _avif_is_bare(data: bytes) -> bool:
    """ISO/IEC 23008-12: a still picture, with items of pictures alone, and no byte of `mdat` that is not theirs."""
    boxes = list(_boxes(data, 0, len(data)))
    if [kind for kind, _, _ in boxes] not in ([b"ftyp", b"meta", b"mdat"], [b"ftyp", b"mdat", b"meta"]):
        return False
    [meta] = [box for box in boxes if box[0] == b"meta"]
    inner = {kind: (start, end) for kind, start, end in _boxes(data, meta[1] + 4, meta[2])}
    if not {b"hdlr", b"iinf", b"iloc", b"iprp"} <= inner.keys() <= _AVIF_META:
        return False
    links = (
        {kind for kind, _, _ in _boxes(data, inner[b"iref"][0] + 4, inner[b"iref"][1])} if b"iref" in inner else set()
    )
    return (
        _avif_items(data, *inner[b"iinf"]) <= {b"av01", b"grid"}
        and links <= _AVIF_LINKS
        and inner[b"hdlr"][1] - inner[b"hdlr"][0] <= _AVIF_HANDLER_MAX
        and _avif_is_about_alpha(data, *inner[b"iprp"])
        and _avif_properties(data, *inner[b"iprp"]) <= _AVIF_PROPERTIES
        and _covers(_avif_extents(data, *inner[b"iloc"]), next(box[1:] for box in boxes if box[0] == b"mdat"))
    )


def _boxes(data: bytes, at: int, end: int) -> Iterator[Box]:
    """ISO/IEC 14496-12 §4.2, without sizes of 64 bits and boxes that go on to the end."""
    while at < end:
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8 or at + size > end:
            raise Malformed("a box is cut short")
        yield kind, at + 8, at + size
        at += size


def _avif_items(data: bytes, start: int, end: int) -> set[bytes]:
    first = start + (6 if data[start] == 0 else 8)
    entries = [(at, stop) for kind, at, stop in _boxes(data, first, end) if kind == b"infe"]
    if any(stop - at > _AVIF_ENTRY_MAX for at, stop in entries):
        raise Malformed("an item with a long name")
    return {data[at + (8 if data[at] == 2 else 10) :][:4] for at, _ in entries}


def _avif_is_about_alpha(data: bytes, start: int, end: int) -> bool:
    """Auxiliary pictures are transparency, not depth and not gain."""
    for outer, at, stop in _boxes(data, start, end):
        for kind, begin, close in _boxes(data, at, stop) if outer != b"ipma" else ():
            if kind == b"auxC" and data[begin + 4 : close] not in _AVIF_ALPHA:
                return False
    return True


def _avif_properties(data: bytes, start: int, end: int) -> set[bytes]:
    return {
        kind
        for outer, at, stop in _boxes(data, start, end)
        if outer != b"ipma"
        for kind, _, _ in _boxes(data, at, stop)
    }


def _avif_extents(data: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """ISO/IEC 14496-12 §8.11.3: where each part of an item begins and ends."""
    version, sizes, more = data[start], data[start + 4], data[start + 5]
    offset_size, length_size, base_size, index_size = sizes >> 4, sizes & 15, more >> 4, more & 15 if version else 0
    at, width = start + 6, 4 if version == 2 else 2
    count, at = _number(data, at, width), at + width
    found = []
    for _ in range(count):
        at += width + (2 if version else 0) + 2
        base, at = _number(data, at, base_size), at + base_size
        extents, at = _number(data, at, 2), at + 2
        for _ in range(extents):
            at += index_size
            offset, length = _number(data, at, offset_size), _number(data, at + offset_size, length_size)
            found.append((base + offset, base + offset + length))
            at += offset_size + length_size
        if at > end:
            raise Malformed("iloc is cut short")
    return found


def _number(data: bytes, at: int, width: int) -> int:
    return int.from_bytes(data[at : at + width], "big")


def _covers(extents: list[tuple[int, int]], whole: tuple[int, int]) -> bool:
    at = whole[0]
    for start, end in sorted(extents):
        if start != at:
            return False
        at = end
    return at == whole[1]


_WALKS = {"image/jpeg": _jpeg, "image/png": _png, "image/apng": _png, "image/webp": _webp, "image/gif": _gif}
