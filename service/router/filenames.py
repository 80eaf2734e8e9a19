"""The name that a sender gives a file: shown to people and offered at download, never used as a path."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

from service.domain.errors import BadName, BadRequest

MAX_LENGTH = 255

_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
_EXTENDED = re.compile(r";\s*filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'([!#$&+\-.^_`|~%0-9A-Za-z]*)", re.IGNORECASE)
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def clean_filename(text: str) -> str | None:
    """Return the last segment of `text`, whatever slashes its system uses; None where that leaves no name.

    Raises `BadName` when it is longer than 255 characters or holds control characters or line separators.
    """
    name = re.split(r"[/\\]", text)[-1].strip()
    if len(name) > MAX_LENGTH or any(unicodedata.category(character) in _UNPRINTABLE for character in name):
        raise BadName("filename", name)
    return None if name in {"", ".", ".."} else name


def part_filename(disposition: str, plain: str | None) -> str | None:
    """Return the clean name of a form's part: `filename*` where it is sent (RFC 8187), else `plain`, its `filename`.

    RFC 7578 §4.2 forbids `filename*`, and clients send it all the same. Raises `BadRequest` when it does not decode,
    `BadName` as `clean_filename` does.
    """
    extended = _EXTENDED.search(_QUOTED.sub('""', disposition))
    if extended is None:
        return None if plain is None else clean_filename(plain)
    try:
        return clean_filename(unquote(extended[2], encoding=extended[1], errors="strict"))
    except UnicodeDecodeError as error:
        raise BadRequest(f"filename* is not encoded in {extended[1]}.") from error
