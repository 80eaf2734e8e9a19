"""Bytes that stand in the manifest itself (RFC 2397). A line of it is bounded, and so are they."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from service.ports.sources import SourceFailed

_FORM = re.compile(r"data:([^,]*),(.*)", re.IGNORECASE | re.DOTALL)
_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")


def decode_data_url(text: str) -> bytes:
    """The bytes of a data: URL, percent-encoded or base64. Raises `SourceFailed`."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise SourceFailed("This is no data: URL: it has no comma.")
    if not text.isascii() or _ESCAPES.fullmatch(form[2]) is None:
        raise SourceFailed("This data: URL holds what must be percent-encoded.")
    content = unquote_to_bytes(form[2])
    if not form[1].replace(" ", "").lower().endswith(";base64"):
        return content
    try:
        return base64.b64decode(content + b"=" * (-len(content) % 4), validate=True)
    except binascii.Error as error:
        raise SourceFailed("The base64 of this data: URL is broken.") from error
