"""Which format of a rendition a caller gets: by the extension in the path, else by `Accept` (RFC 9110 §12.5.1); pure.

A wildcard says little: browsers that know no AVIF send `image/*` as well. So AVIF and WebP are given to who names them,
and a wildcard alone gives them only where nothing older is offered. What nobody can read is a header that is not there,
and a caller who accepts nothing of what is offered gets the oldest of it all the same (§12.4.1 lets a server).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from service.domain.rendition import Format

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  # RFC 9110 §5.6.2 calls a word a token
_RANGE: Final = re.compile(rf"{_TOKEN}/{_TOKEN}")
_QVALUE: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_LONGEST: Final = 4096
"""Characters of a header that are read: browsers send a hundred, and reading costs 0.2 µs each."""

_MODERN: Final = frozenset({Format.AVIF, Format.WEBP})

Ranges = dict[str, float]
"""Media ranges in lower case, each with its weight from 0 to 1."""


def negotiate(accept: str | None, offered: Sequence[Format]) -> Format:
    """The one of `offered` (best first, not empty) that serves this `Accept` best; the same for the same arguments."""
    ranges = parse_accept(accept or "") or {"*/*": 1.0}
    named = [_weight(each, ranges, named_only=each in _MODERN) for each in offered]
    weights = named if any(named) else [_weight(each, ranges, named_only=False) for each in offered]
    best = max(weights)
    return offered[weights.index(best)] if best > 0 else _oldest(offered)


def by_extension(extension: str, offered: Sequence[Format]) -> Format | None:
    """The one of `offered` that this extension asks for, exactly as it is spelled; None for any other text."""
    return next((each for each in offered if each.extension == extension), None)


def parse_accept(text: str) -> Ranges:
    """The media ranges of an `Accept` field value; members that are malformed, or more than a type, are left out.

    A text of more than 4 KiB says nothing.
    Of a range that stands there twice the greater weight counts.
    """
    ranges: Ranges = {}
    for member in _split(text, ",") if len(text) <= _LONGEST else ():
        name, *parameters = _split(member, ";")
        weight = _weight_of(parameters)
        if weight is not None and _RANGE.fullmatch(name):
            ranges[name.lower()] = max(weight, ranges.get(name.lower(), 0.0))
    return ranges


def _split(text: str, separator: str) -> list[str]:
    """The parts between separators that stand outside of quoted strings (§5.6.4), in one pass over the text."""
    parts, start, is_quoted, is_escaped = [], 0, False, False
    for at, letter in enumerate(text):
        if is_escaped:
            is_escaped = False
        elif letter == '"':
            is_quoted = not is_quoted
        elif is_quoted:
            is_escaped = letter == "\\"
        elif letter == separator:
            parts.append(text[start:at])
            start = at + 1
    return [part.strip(" \t") for part in (*parts, text[start:])]


def _weight_of(parameters: Sequence[str]) -> float | None:
    """The weight among the parameters of a range, 1 without; None for a malformed one and for any other parameter."""
    weight = 1.0
    for name, _, value in (parameter.partition("=") for parameter in parameters if parameter):
        if name.lower() != "q" or _QVALUE.fullmatch(value) is None:
            return None
        weight = float(value)
    return weight


def _weight(offered: Format, ranges: Ranges, *, named_only: bool) -> float:
    """RFC 9110 §12.5.1: of all ranges that match, the most exact one counts."""
    names = (offered.media_type,) if named_only else (offered.media_type, "image/*", "*/*")
    return next((ranges[name] for name in names if name in ranges), 0.0)


def _oldest(offered: Sequence[Format]) -> Format:
    return next((each for each in offered if each not in _MODERN), offered[-1])
