"""What the database knows of objects, to be held against the store; and what was found in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from service.domain.blob import Sha256
from service.domain.event import BlobEvent
from service.domain.health import Health
from service.domain.health_decision import HealthState

HealthJudge = Callable[[HealthState], BlobEvent | None]
"""Pure: called inside a transaction that has the lock of the hash, on what was read after the lock was taken."""


class ObjectState(StrEnum):
    """How far an object has come; it only moves forward."""

    PENDING = "pending"
    LIVE = "live"
    CONDEMNED = "condemned"


@dataclass(frozen=True, slots=True)
class KnownObject:
    """A row: `size` in bytes as they were sent, `health` that of the blob that shows it, None where none does."""

    object_id: int
    key: str
    sha256: Sha256
    size: int
    state: ObjectState
    health: Health | None


class Integrity(Protocol):
    """Any number of processes may call everything here at the same time. Raises `Unavailable`."""

    async def known(self, after: str, limit: int) -> Sequence[KnownObject]:
        """Up to `limit` rows with keys greater than `after`, in ascending order of key (code points)."""

    async def look(self, keys: Sequence[str]) -> Mapping[str, KnownObject]:
        """The rows of these keys as they are now, by key; those without a row are left out."""

    async def mark(self, found: KnownObject, judge: HealthJudge) -> bool:
        """Judge the health of the blob that shows this object; what the judge says goes into the log of every holder.

        False where no blob shows the object by now: then it is nobody's affair.
        """

    async def condemn_unused(self, found: KnownObject, quarantine: timedelta) -> bool:
        """Condemn a live object that no blob shows. False where it is another's affair by now."""

    async def marked(self) -> Mapping[Health, int]:
        """How many blobs are marked, by what was found."""
