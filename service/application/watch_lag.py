"""Whether the feed is behind, and who holds it back."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from service.observability import outlets
from service.ports.feed import Feed, Lag

WORTH_A_WORD = 5.0
"""Seconds: whatever Refkeep does itself takes less."""


@dataclass(frozen=True, slots=True)
class WatchLag:
    """Put the feed's lag on record: as a metric always, with the blocker's name as a warning where it lasts."""

    feed: Feed

    async def __call__(self) -> Lag:
        """Raises `Unavailable`."""
        lag = await self.feed.lag()
        outlets().events_lag.set(lag.seconds)
        if lag.seconds >= WORTH_A_WORD:
            outlets().log.log(logging.WARNING, "feed_held_back", seconds=round(lag.seconds, 1), **_blocker(lag))
        return lag


def _blocker(lag: Lag) -> dict[str, object]:
    told: dict[str, object] = {"waiting": lag.waiting}
    if (blocker := lag.blocker) is None:
        return told
    since = None if blocker.started_at is None else blocker.started_at.isoformat()
    query_since = None if blocker.query_started_at is None else blocker.query_started_at.isoformat()
    who = {"pid": blocker.pid, "application": blocker.application, "state": blocker.state}
    return {**told, **who, "started_at": since, "query_started_at": query_since}
