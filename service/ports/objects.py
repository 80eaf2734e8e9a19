"""The physical level: one row per copy in the store, written before its bytes and gone after them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from service.domain.blob import Sha256


@dataclass(frozen=True, slots=True)
class Reservation:
    """A pending object: nobody else will ever use `key`."""

    object_id: int
    key: str
    sha256: Sha256
    size: int


class ObjectLedger(Protocol):
    """States only move forward: pending, live (see `BlobLedger.publish`), condemned, gone."""

    async def reserve(self, sha256: Sha256, size: int, lease: timedelta) -> Reservation:
        """Insert a pending object under a new key. Committed on return.

        A crash may lose it, which only makes garbage.
        """

    async def condemn(self, reservation: Reservation) -> bool:
        """Give up an object that never was live.

        True when it is condemned now, due when its lease ends; False when it is live by now or was condemned before.
        """

    async def forget(self, reservation: Reservation) -> None:
        """Delete the row of a condemned object whose bytes are gone from the store. Idempotent."""
