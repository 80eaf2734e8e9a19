"""The media type that a container's own header states; pure."""

from __future__ import annotations

from collections.abc import Iterator

_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}

_BRANDS = dict.fromkeys((b"avif", b"avis"), "image/avif")
_BRANDS |= dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "image/heic")
_BRANDS |= dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), "audio/mp4")
_BRANDS |= dict.fromkeys((b"mp41", b"mp42", b"mp71", b"isom", b"avc1", b"iso2", b"iso3", b"iso4", b"iso5"), "video/mp4")
_BRANDS |= dict.fromkeys((b"iso6", b"iso7", b"iso8", b"iso9", b"dash", b"M4V ", b"MSNV", b"mmp4", b"f4v "), "video/mp4")
_BRANDS |= dict.fromkeys((b"3gp4", b"3gp5", b"3gp6", b"3gp7", b"3gs7", b"3ge6", b"3ge7", b"3gg6"), "video/3gpp")
_BRANDS |= {b"qt  ": "video/quicktime", b"jp2 ": "image/jp2", b"crx ": "image/x-canon-cr3"}

_DOCTYPES = {b"webm": "video/webm", b"matroska": "video/matroska"}
_EBML, _DOCTYPE = 0x1A45DFA3, 0x4282

_OGG_CODECS = {
    b"\x01vorbis": "audio/ogg",
    b"OpusHead": "audio/ogg",
    b"\x7fFLAC": "audio/ogg",
    b"Speex   ": "audio/ogg",
    b"\x80theora": "video/ogg",
}

_BITRATES = {3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)}
_BITRATES |= dict.fromkeys((2, 0), (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160))
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def riff_type(head: bytes) -> str | None:
    """RIFF: the form type at byte 8."""
    return _RIFF.get(head[8:12]) if head.startswith(b"RIFF") else None


def isobmff_type(head: bytes) -> str | None:
    """ISO/IEC 14496-12 §4.3: the major brand, else the first compatible one that says something.

    Old QuickTime files have no `ftyp` box and begin with the film itself.
    """
    size, kind = int.from_bytes(head[:4], "big"), head[4:8]
    if kind in {b"moov", b"mdat", b"wide"} and size >= 8:
        return "video/quicktime"
    if kind != b"ftyp" or size < 16:
        return None
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(size, len(head), 512), 4))]
    found = next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)
    return found or ("image/heif" if brands[0] in {b"mif1", b"msf1"} else None)


def ebml_type(head: bytes) -> str | None:
    """RFC 8794 §11.2.1: the DocType of the EBML header tells WebM from Matroska (RFC 9559)."""
    for identifier, start, size in elements(head, 0):
        if identifier != _EBML:
            return None
        inner = head[: start + (size or 0)]
        names = (inner[at : at + (length or 0)] for found, at, length in elements(inner, start) if found == _DOCTYPE)
        return _DOCTYPES.get(next(names, b"").rstrip(b"\0"))
    return None


def elements(data: bytes, at: int) -> Iterator[tuple[int, int, int | None]]:
    """Yield the EBML elements of `data` from `at` on (RFC 8794 §4-6): id, start of content, its size or None."""
    while (identifier := _vint(data, at, 4)) is not None:
        at += identifier[1]
        if (size := _vint(data, at, 8)) is None:
            return
        at += size[1]
        width = 7 * size[1]
        content = size[0] & ((1 << width) - 1)
        unknown = content == (1 << width) - 1
        yield identifier[0], at, None if unknown else content
        at = len(data) if unknown else at + content


def _vint(data: bytes, at: int, longest: int) -> tuple[int, int] | None:
    length = 9 - data[at].bit_length() if at < len(data) else 9
    if length > longest or at + length > len(data):
        return None
    return int.from_bytes(data[at : at + length], "big"), length


def ogg_type(head: bytes) -> str | None:
    """RFC 3533 §6: the first page holds the identification header of the first stream."""
    if not head.startswith(b"OggS\0") or len(head) < 28:
        return None
    codec = head[27 + head[26] :]
    return next(
        (media_type for prefix, media_type in _OGG_CODECS.items() if codec.startswith(prefix)), "application/ogg"
    )


def mpeg_audio_type(head: bytes) -> str | None:
    """MPEG audio layer III without a tag: a frame header, and another where its length says (WHATWG §6.2.3)."""
    length = _mp3_frame_length(head)
    if length is None or len(head) < length + 4:
        return None
    return "audio/mpeg" if _mp3_frame_length(head[length:]) is not None else None


def _mp3_frame_length(head: bytes) -> int | None:
    """ISO/IEC 11172-3 §2.4.1.3: bytes of the frame, from its header."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, bitrate, rate = (head[1] >> 3) & 3, head[2] >> 4, (head[2] >> 2) & 3
    if version == 1 or bitrate in {0, 15} or rate == 3:
        return None
    samples = 144 if version == 3 else 72
    return samples * _BITRATES[version][bitrate] * 1000 // _SAMPLE_RATES[version][rate] + ((head[2] >> 1) & 1)
