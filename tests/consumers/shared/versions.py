"""Versions of lists, as callers name them."""

from __future__ import annotations

import re

from tests.consumers.shared.refusals import Refusal

_ETAG = re.compile(r'"(0|[1-9][0-9]{0,17})"')


def version_etag(version: int) -> str:
    """The strong validator of a version."""
    return f'"{version}"'


def version_seen(if_match: str | None) -> int | None:
    """The version that a caller goes by, None when they do not say. Raises the refusal of one that we never gave."""
    if if_match is None or if_match == "*":
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        raise Refusal(412, "list-changed", "If-Match names no version of this list.")
    return int(found[1])
