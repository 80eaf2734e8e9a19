"""The media type of bytes, told by their beginning; pure.

What decides over safety (pictures, video, sound, markup, text) is decided here, after WHATWG MIME Sniffing and the
formats' own specifications. `filetype` names the rest: archives, office files, fonts.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable

import filetype  # type: ignore[import-untyped]  # no stubs are published

from service.adapters.vips.containers import ebml_type, isobmff_type, mpeg_audio_type, ogg_type, riff_type
from service.adapters.vips.markup import markup_type

HEAD_BYTES = 64 * 1024
"""How much of the beginning `sniff` wants: room for the profile that may precede a PNG's animation chunk."""

OCTET_STREAM = "application/octet-stream"

_SIGNATURES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"{\\rtf", "application/rtf"),
    (b"\x1f\x8b\x08", "application/gzip"),
)
_PNG = b"\x89PNG\r\n\x1a\n"
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_BINARY = bytes(set(range(0x20)) - set(b"\t\n\f\r\x1b"))
_DECIDED_HERE = {
    "image/jpeg",
    "image/png",
    "image/apng",
    "image/gif",
    "image/webp",
    "image/bmp",
    "image/tiff",
    "image/avif",
}
_DECIDED_HERE |= {"image/heic", "image/x-icon", "video/mp4", "video/webm", "video/quicktime", "audio/mpeg", "audio/mp4"}


def sniff(head: bytes) -> str:
    """Return the media type of bytes that begin with `head` (up to `HEAD_BYTES`), `OCTET_STREAM` when nothing fits."""
    return next((found for detect in _DETECTORS if (found := detect(head)) is not None), OCTET_STREAM)


def _by_signature(head: bytes) -> str | None:
    return next((media_type for prefix, media_type in _SIGNATURES if head.startswith(prefix)), None)


def _png(head: bytes) -> str | None:
    """PNG third edition: an acTL chunk before the first IDAT makes it an animation, whose type is image/apng."""
    if not head.startswith(_PNG):
        return None
    at = len(_PNG)
    while at + 8 <= len(head):
        kind = head[at + 4 : at + 8]
        if kind in {b"acTL", b"IDAT"}:
            return "image/apng" if kind == b"acTL" else "image/png"
        at += 12 + int.from_bytes(head[at : at + 4], "big")
    return "image/png"


def _bitmap(head: bytes) -> str | None:
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "image/bmp"
    if head.startswith(b"\0\0\1\0") and head[4:6] != b"\0\0" and len(head) >= 22:
        return "image/vnd.microsoft.icon"
    return None


def _text(head: bytes) -> str | None:
    """UTF-8 without the control characters that WHATWG calls binary, or a UTF-16 byte order mark."""
    if head.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE)):
        return "text/plain"
    if not head or head.translate(None, _BINARY) != head:
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return None
    return "text/plain"


def _other(head: bytes) -> str | None:
    """What `filetype` recognises; where the rules above are stricter, its looser word does not count."""
    found = filetype.guess_mime(head)
    return found if isinstance(found, str) and found not in _DECIDED_HERE else None


_DETECTORS: tuple[Callable[[bytes], str | None], ...] = (
    _by_signature,
    _png,
    _bitmap,
    riff_type,
    isobmff_type,
    ebml_type,
    ogg_type,
    mpeg_audio_type,
    markup_type,
    _text,
    _other,
)
