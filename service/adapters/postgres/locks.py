"""Advisory locks: what a transaction is about, as a number."""

from __future__ import annotations

from hashlib import blake2b


def lock_of(kind: str, *names: str) -> int:
    """The 64-bit advisory lock of a thing; things of different kinds or names practically never share one."""
    digest = blake2b("\0".join((kind, *names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
