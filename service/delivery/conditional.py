"""Preconditions of GET and HEAD, in the order of RFC 9110 §13.2.2: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from service.delivery.httpdate import parse_http_date

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(_TAG)
_TAG_LIST = re.compile(rf"[ \t,]*(?:{_TAG}[ \t]*(?:,[ \t,]*|\Z))+")


@dataclass(frozen=True, slots=True)
class Validators:
    """What a representation can be recognised by.

    `etag` is strong and includes its quotes; `last_modified` is UTC, None for a resource that does not tell its age.
    """

    etag: str
    last_modified: datetime | None = None


class Outcome(Enum):
    """What the preconditions make of a request that would succeed without them."""

    PROCEED = auto()
    NOT_MODIFIED = auto()
    FAILED = auto()


def evaluate(headers: Mapping[str, str], current: Validators) -> Outcome:
    """Judge the preconditions among `headers` (lower-case names) against the current validators.

    Dates are ignored beside the entity-tag field that outranks them, when malformed, and where there is no
    Last-Modified. A malformed list of entity-tags names none.
    """
    if (wanted := headers.get("if-match")) is not None:
        if not _names(wanted, current.etag, weakly=False):
            return Outcome.FAILED
    elif _changed_since(headers.get("if-unmodified-since"), current) is True:
        return Outcome.FAILED
    if (known := headers.get("if-none-match")) is not None:
        return Outcome.NOT_MODIFIED if _names(known, current.etag, weakly=True) else Outcome.PROCEED
    unchanged = _changed_since(headers.get("if-modified-since"), current) is False
    return Outcome.NOT_MODIFIED if unchanged else Outcome.PROCEED


def range_applies(if_range: str | None, current: Validators) -> bool:
    """Whether a Range header counts (RFC 9110 §13.1.5): without If-Range, or if it names exactly what is current.

    The comparison is strong: a weak tag never matches. Bytes never change under their name, which makes Last-Modified
    strong too, wherever there is one (§8.8.2.2).
    """
    if if_range is None or if_range == current.etag:
        return True
    date = parse_http_date(if_range)
    return (
        date is not None and current.last_modified is not None and date == current.last_modified.replace(microsecond=0)
    )


def _names(header: str, etag: str, *, weakly: bool) -> bool:
    if header.strip(" \t") == "*":
        return True
    if _TAG_LIST.fullmatch(header) is None:
        return False
    tags = _TAGS.findall(header)
    return etag in tags or (weakly and f"W/{etag}" in tags)


def _changed_since(header: str | None, current: Validators) -> bool | None:
    """Whether the representation is younger than the date in `header`; None where that cannot be said."""
    date = None if header is None else parse_http_date(header)
    if date is None or current.last_modified is None:
        return None
    return current.last_modified.replace(microsecond=0) > date
