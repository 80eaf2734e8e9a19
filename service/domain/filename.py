"""The name that a sender gives a file: shown to people and offered at download, never used as a path."""

from __future__ import annotations

import re
import unicodedata

from service.domain.errors import BadName

MAX_LENGTH = 255

_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def clean_filename(text: str) -> str | None:
    """Return the last segment of `text`, whatever slashes its system uses; None where that leaves no name.

    Raises `BadName` when it is longer than 255 characters or holds control characters or line separators.
    """
    name = re.split(r"[/\\]", text)[-1].strip()
    if len(name) > MAX_LENGTH or any(unicodedata.category(character) in _UNPRINTABLE for character in name):
        raise BadName("filename", name)
    return None if name in {"", ".", ".."} else name
