"""`Content-Digest` and `Repr-Digest` of a request (RFC 9530)."""

from __future__ import annotations

from typing import cast

import http_sf

from service.domain.blob import Sha256
from service.domain.errors import BadRequest

_SHA256_BYTES = 32


def parse_digest(field: str, value: str | None) -> Sha256 | None:
    """Return the SHA-256 that the field promises, None when it is absent or names other algorithms only.

    `value` is a dictionary of byte sequences (RFC 9530 §2, RFC 9651 §3.2), several lines of the field joined with a
    comma; `field` names it in the sentence. Raises `BadRequest` when it is malformed or its SHA-256 is not 32 bytes.
    In a multipart request the field speaks of the whole body, not of the file in it: do not compare it with the file.
    """
    if value is None:
        return None
    digest = _members(field, value).get("sha-256")
    if digest is None:
        return None
    if not isinstance(digest, bytes) or len(digest) != _SHA256_BYTES:
        raise BadRequest(f"{field}: sha-256 must be 32 bytes in base64 between colons.")
    return Sha256(digest.hex())


def _members(field: str, value: str) -> dict[str, object]:
    try:
        parsed = http_sf.parse(value.encode("latin-1"), tltype="dictionary")
    except ValueError as error:
        raise BadRequest(f"{field} is no dictionary of byte sequences (RFC 9530).") from error
    return {name: member[0] for name, member in cast("dict[str, tuple[object, object]]", parsed).items()}
