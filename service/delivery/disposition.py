"""Content-Disposition: shown or saved, and under which name (RFC 6266, RFC 8187): pure."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

_RASTER = frozenset(
    {
        "image/apng", "image/avif", "image/bmp", "image/gif", "image/heic", "image/heif", "image/jp2", "image/jpeg",
        "image/jxl", "image/png", "image/tiff", "image/vnd.microsoft.icon", "image/webp", "image/x-icon",
    }
)  # fmt: skip
# Control characters, path separators, halves of surrogate pairs, and the marks that make a name read backwards.
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_UNQUOTABLE = re.compile(r'[^ -~]|["%]')
_ATTR_CHAR = "!#$&+-.^_`|~"  # RFC 8187 §3.2.1, beside letters and digits


def is_inline(media_type: str) -> bool:
    """Whether a browser may show the type in place: pictures without scripts, sound, video, plain text."""
    essence = media_type.partition(";")[0].strip().lower()
    return essence in _RASTER or essence == "text/plain" or essence.startswith(("audio/", "video/"))


def content_disposition(media_type: str, filename: str | None = None) -> str:
    """Return the field's value in ASCII: `inline` or `attachment`, with `filename` and `filename*` if it has a name."""
    kind = "inline" if is_inline(media_type) else "attachment"
    name = _UNFIT.sub("_", filename or "").strip()
    if not name:
        return kind
    return f"{kind}; filename=\"{_ascii(name)}\"; filename*=UTF-8''{quote(name, safe=_ATTR_CHAR)}"


def _ascii(name: str) -> str:
    """Spell `name` for old clients: accents dropped, everything else that could not be quoted replaced."""
    plain = name
    if not name.isascii():
        plain = "".join(char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char))
    return _UNQUOTABLE.sub("_", plain).replace("\\", "_").replace("/", "_")
