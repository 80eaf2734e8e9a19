"""Storage keys, `<aa>/<bb>/<sha256>.<uuid7>`: what every store checks before a key becomes a path or a URL."""

from __future__ import annotations

import re

_UUID7 = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_KEY = re.compile(rf"([0-9a-f]{{2}})/([0-9a-f]{{2}})/(\1\2[0-9a-f]{{60}})\.{_UUID7}")

_NOTE = re.compile(r"[a-z]{3,32}")


def is_key(text: str) -> bool:
    """Whether `text` is a storage key: `aa` and `bb` are the first digits of its hash."""
    return _KEY.fullmatch(text) is not None


def check_key(text: str) -> str:
    """Return `text`; raise `ValueError` unless it is a storage key, so that no store is left by way of a name."""
    if not is_key(text):
        raise ValueError(f"{text[:200]!r} is no storage key")
    return text


def check_note(name: str) -> str:
    """Return `name`; raise `ValueError` unless it is lower-case letters, which no key is."""
    if _NOTE.fullmatch(name) is None:
        raise ValueError(f"{name[:200]!r} is no name of a note")
    return name


def digest_of(key: str) -> bytes:
    """Return the 32 bytes of the SHA-256 that `key` names."""
    return bytes.fromhex(key[6:70])
