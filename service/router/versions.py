"""Entity versions as entity tags: `ETag`, `If-Match`, `If-None-Match` under /refs (RFC 9110 §8.8, §13.1)."""

from __future__ import annotations

import re

from service.domain.errors import BadRequest

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
_STRONG_VERSION = re.compile(r'(?<!W/)"(0|[1-9][0-9]{0,17})"')


def version_etag(version: int) -> str:
    """The strong entity tag of an entity's version: `"7"`."""
    return f'"{version}"'


def parse_if_match(value: str | None) -> frozenset[int] | None:
    """Return the versions that the caller accepts, None when it names none: the field is absent or `*`.

    `*` asks for "any", which every entity satisfies, even an empty one (version 0); it is no answer where a version is
    demanded. Weak tags and tags that are no version match nothing (strong comparison, RFC 9110 §13.1.1), so the set
    may be empty. Raises `BadRequest` when the field is malformed.
    """
    if value is None or value.strip(" \t") == "*":
        return None
    if _LIST.fullmatch(value) is None:
        raise BadRequest('If-Match is * or a list of quoted versions such as "7".')
    return frozenset(int(tag) for tag in _STRONG_VERSION.findall(value))


def parse_only_if_empty(value: str | None) -> bool:
    """Whether the slot must be empty: `If-None-Match: *`. Raises `BadRequest` for anything else than `*` or absence."""
    if value is None:
        return False
    if value.strip(" \t") != "*":
        raise BadRequest("If-None-Match takes only * when a slot is written.")
    return True
