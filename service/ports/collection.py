"""Collecting what nothing needs: reviews of what may have lost its last reason, and the end of condemned bytes.

Any number of replicas may call everything here at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from service.domain.blob import Sha256
from service.domain.collection import BlobReview, BlobVerdict, HoldingReview, Verdict

HoldingReviewJudge = Callable[[HoldingReview], Verdict]
"""Pure: called inside a transaction that holds the hash's lock, on what was read after the lock was taken."""

BlobReviewJudge = Callable[[BlobReview], BlobVerdict]
"""Pure, called likewise."""


@dataclass(frozen=True, slots=True)
class Amount:
    """So many things of so many bytes together."""

    count: int = 0
    bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.count + other.count, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a turn of reviews did: `seen` were due, `busy` of them were left for later.

    Others work on their hash, or the charge of their workspace has drifted, which is on record.

    `released` are holdings that ended, `condemned` blobs.
    """

    seen: int = 0
    busy: int = 0
    released: Amount = Amount()
    condemned: Amount = Amount()


@dataclass(frozen=True, slots=True)
class Condemned:
    """An object whose bytes this caller is to remove: nobody else gets it before the claim ends."""

    object_id: int
    key: str
    sha256: Sha256
    size: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is due now and not done: reviews, uploads past their lease, condemned objects; since when the oldest is.

    Counts stop at 100,000.
    """

    reviews: int
    uploads: int
    condemned: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do now, were it alone.

    `purge` are refs whose time in the trash is over, with the bytes they show; `drop` are renditions that no preset
    would make any more; `release` are holdings, `condemn` blobs, `delete` objects: condemned and due, or of uploads
    that never ended. `waiting` are condemned objects within their quarantine, `on_hold` what a hold keeps, `objects`
    all there are.
    """

    purge: Amount
    drop: Amount
    release: Amount
    condemn: Amount
    delete: Amount
    waiting: Amount
    on_hold: Amount
    objects: Amount

    @property
    def percent(self) -> float:
        """How much of all objects would be condemned or deleted, 0 to 100."""
        return 100 * (self.condemn.count + self.delete.count) / max(self.objects.count, 1)


class Collection(Protocol):
    """Moves forward only. A hash that somebody works on is skipped, never waited for. Raises `Unavailable`."""

    async def review(self, limit: int, judge_holding: HoldingReviewJudge, judge_blob: BlobReviewJudge) -> Reviewed:
        """Look at up to `limit` holdings and as many blobs whose reviews are due, each in a transaction of its own.

        A holding that ends is an event and frees its quota; a blob that goes leaves its object condemned. What it was
        the last reason of is due then.
        """

    async def condemn_abandoned(self, limit: int) -> Amount:
        """Condemn objects that are still pending after their upload's lease: their bytes may go at once."""

    async def claim(self, limit: int, claim_for: timedelta) -> Sequence[Condemned]:
        """Condemned objects past their time, and not on hold as of a look under each object's lock.

        Nobody else gets them for `claim_for`: a caller that dies leaves them to the next. Committed on return.
        """

    async def forget(self, object_ids: Sequence[int]) -> None:
        """Delete the rows of condemned objects whose bytes are gone from the store. Idempotent."""

    async def backlog(self) -> Backlog:
        """What is due now, from the indexes alone."""

    async def plan(self, current: Set[str], min_age: timedelta) -> Plan:
        """What a run would do; reads everything, writes nothing.

        `current` and `min_age` are those of `Renditions.drop_stale`.
        """


class Leftovers(Protocol):
    """Rows that were only needed for a while."""

    async def sweep_rows(self, answers_kept: timedelta, limit: int) -> int:
        """Delete stored answers of Idempotency-Keys older than `answers_kept` and old notes of refusals.

        At most `limit` of each; returns how many.
        """


class Staging(Protocol):
    """Where uploads wait on this machine."""

    async def sweep_abandoned(self) -> int:
        """Remove what crashed processes left behind; returns how many. Raises `StorageUnavailable`."""
