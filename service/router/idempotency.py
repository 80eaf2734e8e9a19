"""The `Idempotency-Key` of a request."""

from __future__ import annotations

import re

import http_sf

from service.domain.errors import BadRequest

_BARE = re.compile(r"[!#-~]{1,255}")
_SENTENCE = "Idempotency-Key is 1 to 255 visible ASCII characters, quoted or not."


def parse_idempotency_key(value: str | None) -> str | None:
    """Return the key without its quotes, None when the field is absent.

    The draft (draft-ietf-httpapi-idempotency-key-header) has a structured string, `"8e03…"`; many clients send the
    bare characters: both are the same key. Raises `BadRequest` unless it is 1 to 255 visible ASCII characters.
    """
    if value is None:
        return None
    key = _unquoted(value) if value.startswith('"') else value
    if _BARE.fullmatch(key) is None:
        raise BadRequest(_SENTENCE)
    return key


def _unquoted(value: str) -> str:
    try:
        item = http_sf.parse(value.encode("latin-1"), tltype="item")
    except ValueError as error:
        raise BadRequest(_SENTENCE) from error
    text = item[0] if isinstance(item, tuple) else None
    return text if isinstance(text, str) else ""
