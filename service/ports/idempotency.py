"""A claim on an Idempotency-Key.

Carried by a request to the ledger, which stores it with the effect in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Generic, TypeVar

Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Claim(Generic[Outcome]):
    """`key` as the caller sent it, unique within a workspace; `fingerprint` tells one request from another.

    `render` turns the outcome into the answer that a repeated request gets, byte for byte.
    """

    key: str
    fingerprint: bytes
    render: Callable[[Outcome], bytes]

    def about(self, content: str) -> Claim[Outcome]:
        """The claim of a request whose body hashed to `content`."""
        return replace(self, fingerprint=sha256(self.fingerprint + content.encode()).digest())


@dataclass(frozen=True, slots=True)
class Replay:
    """The stored answer of the first request with this key."""

    answer: bytes
