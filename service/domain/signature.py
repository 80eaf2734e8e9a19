"""Signed addresses: whoever has one may read what it names until it expires, and nothing else."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from hmac import compare_digest, digest

BUCKET = timedelta(minutes=5)
"""Ends are rounded up to full ones of these: an address stays the same for a while, and caches keep its bytes."""

_QUERY = re.compile(r"expires=([1-9][0-9]{0,11})&key=([A-Za-z0-9_-]{1,32})&signature=[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A named secret of at least 16 bytes that signs URLs."""

    id: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signatures:
    """HMAC-SHA-256 over method, path, expiry and key id, in a query that has one spelling.

    The first key signs, all of them verify: a new one is put in front, the old one leaves when its addresses have
    expired. Without keys nothing is signed and nothing verifies.
    """

    keys: tuple[SigningKey, ...] = ()

    def sign(self, path: str, expires: int) -> str:
        """The query for GET and HEAD of `path` until `expires` (seconds since 1970), by the first of the keys."""
        return _query(self.keys[0], path, expires)

    def expiry(self, path: str, query: str, now: float) -> int | None:
        """When the address ends (seconds since 1970); None unless `query` was made for `path` and holds at `now`."""
        match = _QUERY.fullmatch(query)
        if match is None:
            return None
        expires = int(match[1])
        signed_by = [key for key in self.keys if key.id == match[2]]
        right = any(compare_digest(_query(key, path, expires).encode(), query.encode()) for key in signed_by)
        return expires if right and now < expires else None


def end_of(now: float, lifetime: timedelta) -> int:
    """The end of what is signed at `now` (seconds since 1970) for `lifetime`, rounded up to a full `BUCKET`."""
    bucket = int(BUCKET.total_seconds())
    return -int(-(now + lifetime.total_seconds()) // bucket) * bucket


def _query(key: SigningKey, path: str, expires: int) -> str:
    # The parts cannot run into each other: a path has no newline, neither have digits and ids.
    mac = digest(key.secret, f"GET\n{path}\n{expires}\n{key.id}".encode(), sha256)
    return f"expires={expires}&key={key.id}&signature={urlsafe_b64encode(mac).decode().rstrip('=')}"
