"""One round of collecting: trash that is due ends, what lost its last reason is condemned, what was long goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

from service.application.drop_stale import DropStale
from service.application.guard_store import GuardStore
from service.application.purge_due import PurgeDue
from service.domain.collection import BlobReview, BlobVerdict, judge_blob, judge_holding
from service.domain.errors import RefkeepError, StorageUnavailable
from service.observability import observed
from service.ports.collection import Amount, Collection, Condemned, Leftovers, Plan, Reviewed, Staging
from service.ports.storage import Storage

BATCH = 200
CLAIM = timedelta(seconds=30)
_OF_CLAIM = 2 / 3
"""The share of its claim in which a round removes bytes: nobody else has them yet when it is over."""
ANSWERS_KEPT = timedelta(days=7)
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Collected:
    """What a round did; `more` says that there is more of it to do now."""

    reviewed: Reviewed
    abandoned: Amount
    deleted: Amount
    swept: int
    purged: int
    stale: int
    more: bool

    @property
    def steps(self) -> int:
        """How many things were settled."""
        return (
            self.purged
            + self.stale
            + self.reviewed.seen
            - self.reviewed.busy
            + self.abandoned.count
            + self.deleted.count
        )


def _told(collected: Collected) -> dict[str, int]:
    return {
        "purged": collected.purged,
        "stale": collected.stale,
        "released": collected.reviewed.released.count,
        "condemned": collected.reviewed.condemned.count,
        "abandoned": collected.abandoned.count,
        "deleted": collected.deleted.count,
        "bytes": collected.deleted.bytes,
    }


@dataclass(frozen=True, slots=True)
class Collect:
    """Purge, review, condemn, delete: a batch of each. Any number of replicas do this at the same time."""

    guard: GuardStore
    collection: Collection
    storage: Storage
    leftovers: Leftovers
    staging: Staging
    purge_due: PurgeDue
    drop_stale: DropStale
    quarantine: timedelta
    clock: Callable[[], float] = monotonic

    @observed("gc.collect", layer="usecase", facts=_told)
    async def __call__(self) -> Collected:
        """Raises `WrongStore`, `BehindFence` before anything is collected; `Unavailable`, `StorageUnavailable`.

        After a restore, refs in the trash, holdings past their lease and stale renditions stay until the rest is over.

        What was begun when it fails is done again by a later round, here or elsewhere.
        """
        swept = await self.staging.sweep_abandoned() + await self.leftovers.sweep_rows(ANSWERS_KEPT, BATCH)
        rests = (await self.guard()).rests
        purged = 0 if rests else await self.purge_due(BATCH)
        stale = 0 if rests else await self.drop_stale(BATCH)
        reviewed = Reviewed() if rests else await self.collection.review(BATCH, judge_holding, self._judge_blob)
        abandoned = await self.collection.condemn_abandoned(BATCH)
        until = self.clock() + CLAIM.total_seconds() * _OF_CLAIM
        claimed = await self.collection.claim(BATCH, CLAIM)
        if claimed:
            await self.guard.advance()
        deleted = await self._delete(claimed, until)
        most = max(purged, stale, reviewed.seen - reviewed.busy, abandoned.count, len(claimed))
        return Collected(reviewed, abandoned, deleted, swept, purged, stale, more=most >= BATCH)

    async def plan(self) -> Plan:
        """What rounds would do now, were they alone; nothing is changed. Raises `Unavailable`."""
        return await self.collection.plan(self.drop_stale.current, self.drop_stale.min_age)

    def _judge_blob(self, review: BlobReview) -> BlobVerdict:
        return judge_blob(review, self.quarantine)

    async def _delete(self, claimed: Sequence[Condemned], until: float) -> Amount:
        """Bytes first, then their rows; outside of any transaction.

        Rows whose bytes did not go stay, and those that a slow store leaves no time for: nothing is removed on a claim
        that has ended, after which a hold may have come. One object that cannot go must not keep the others, but a
        store that removes nothing is left alone; in the end the first failure is raised.
        """
        gone, failures = Amount(), list[RefkeepError]()
        for start in range(0, len(claimed), _AT_ONCE):
            together, seconds = claimed[start : start + _AT_ONCE], until - self.clock()
            if seconds <= 0:
                break
            errors = await asyncio.gather(*(self._remove(condemned, seconds) for condemned in together))
            removed = [condemned for condemned, error in zip(together, errors, strict=True) if error is None]
            await self.collection.forget([condemned.object_id for condemned in removed])
            gone += Amount(len(removed), sum(condemned.size for condemned in removed))
            failures += [error for error in errors if error is not None]
            if not removed:
                break
        if failures:
            raise failures[0]
        return gone

    async def _remove(self, condemned: Condemned, seconds: float) -> RefkeepError | None:
        try:
            async with asyncio.timeout(seconds):
                await self.storage.delete(condemned.key)
        except TimeoutError:
            return StorageUnavailable("The store takes too long to remove an object.")
        except RefkeepError as error:
            return error
        return None
