"""The one spelling that a path has."""

from __future__ import annotations

import re

from service.domain.blob import Sha256, parse_sha256
from service.domain.errors import BadHash, NotFound

_SEGMENT = rb"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9\-._~!$&'()*+,;=:@]+"
_CANONICAL = re.compile(rb"/(?:%s(?:/%s)*)?" % (_SEGMENT, _SEGMENT))


def read_sha256(text: str, absence: str) -> Sha256:
    """The hash that is read under; raise `NotFound` with the sentence `absence` for any other spelling."""
    try:
        return parse_sha256(text)
    except BadHash:
        raise NotFound(absence) from None


def is_canonical(raw_path: bytes) -> bool:
    """Whether `raw_path`, as it came over the wire and without its query, is the one spelling of its resource.

    Segments are the unreserved and delimiting characters of RFC 3986 §3.3, never percent-encoded, never empty, `.` or
    `..`; no name in the API needs more. Any other spelling is 404, so that caches, logs and access rules see one URL.
    """
    return _CANONICAL.fullmatch(raw_path) is not None
