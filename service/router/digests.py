"""`Content-Digest` and `Repr-Digest` of a request (RFC 9530)."""

from __future__ import annotations

from typing import cast

import http_sf

from service.domain.errors import BadRequest

ALGORITHMS = {"sha-256": 32, "sha-512": 64}
"""The active algorithms of RFC 9530 §5 and the bytes of their digests; others are ignored, as it asks."""


def parse_digests(field: str, value: str | None) -> dict[str, bytes]:
    """Return the digests that the field promises, by algorithm; empty when it is absent or names none that is known.

    `value` is a dictionary of byte sequences (RFC 9530 §2, RFC 9651 §3.2), several lines of the field joined with a
    comma; `field` names it in the sentence. Raises `BadRequest` when it is malformed or a digest has the wrong length.
    In a multipart request the field speaks of the whole body, not of the file in it: do not compare it with the file.
    """
    members = {} if value is None else _members(field, value)
    known = {name: digest for name, digest in members.items() if name in ALGORITHMS}
    return {name: _checked(field, name, digest) for name, digest in known.items()}


def _checked(field: str, name: str, digest: object) -> bytes:
    if not isinstance(digest, bytes) or len(digest) != ALGORITHMS[name]:
        raise BadRequest(f"{field}: {name} must be {ALGORITHMS[name]} bytes in base64 between colons.")
    return digest


def _members(field: str, value: str) -> dict[str, object]:
    try:
        parsed = http_sf.parse(value.encode("latin-1"), tltype="dictionary")
    except ValueError as error:
        raise BadRequest(f"{field} is no dictionary of byte sequences (RFC 9530).") from error
    return {name: member[0] for name, member in cast("dict[str, tuple[object, object]]", parsed).items()}
