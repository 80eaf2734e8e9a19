"""What a worker does beside serving, time and again: it collects, and it measures what the database knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from service.adapters.postgres.collection import PostgresCollection
from service.adapters.postgres.feed import PostgresFeed
from service.adapters.postgres.integrity import PostgresIntegrity
from service.application.collect import Collected
from service.application.drop_stale import DropStale
from service.application.watch_lag import WatchLag
from service.composition import Parts, create_collect, create_drop_stale
from service.domain.policy import Policies
from service.drain import Drain
from service.observability import outlets
from service.ports.collection import Collection
from service.ports.integrity import Integrity
from service.rounds import in_rounds
from service.settings import Settings

_LAG_INTERVAL = timedelta(seconds=10)


@asynccontextmanager
async def collecting(settings: Settings, policies: Policies, parts: Parts, drain: Drain) -> AsyncIterator[None]:
    """Collect in the background, unless nothing may be written."""
    if settings.read_only:
        yield
        return
    collect = create_collect(settings, policies, parts.database, parts.store, parts.storage)

    async def turn() -> bool:
        collected = await collect()
        _count(collected)
        return collected.more

    async with in_rounds(turn, settings.gc_interval, drain):
        yield


@asynccontextmanager
async def measuring(settings: Settings, policies: Policies, parts: Parts, drain: Drain) -> AsyncIterator[None]:
    """Measure what is the same for all workers; one of them does this, or sums over workers would be too high.

    Collecting may fail, or be forbidden: what waits for it is measured all the same.
    """
    stale = create_drop_stale(settings, policies, parts.database)
    census = _Census(PostgresCollection(parts.database), PostgresIntegrity(parts.database), stale)
    watch_lag = WatchLag(PostgresFeed(parts.database))

    async def look() -> bool:
        await watch_lag()
        return False

    async with in_rounds(census.take, settings.gc_interval, drain), in_rounds(look, _LAG_INTERVAL, drain):
        yield


@dataclass(frozen=True, slots=True)
class _Census:
    collection: Collection
    integrity: Integrity
    stale: DropStale

    async def take(self) -> bool:
        """Put on record how much is due, and how many blobs are marked; there is no more of it to do at once."""
        backlog = await self.collection.backlog()
        due = {"review": backlog.reviews, "upload": backlog.uploads, "delete": backlog.condemned}
        for stage, count in (due | {"stale": await self.stale.due()}).items():
            outlets().gc_backlog.set(count, {"stage": stage})
        for health, count in (await self.integrity.marked()).items():
            outlets().integrity_failures.set(count, {"health": health.value})
        return False


def _count(collected: Collected) -> None:
    reviewed = collected.reviewed
    steps = {
        "purged": collected.purged,
        "dropped": collected.stale,
        "released": reviewed.released.count,
        "condemned": reviewed.condemned.count,
        "abandoned": collected.abandoned.count,
        "deleted": collected.deleted.count,
    }
    for step, count in steps.items():
        outlets().collected.add(count, {"step": step})
