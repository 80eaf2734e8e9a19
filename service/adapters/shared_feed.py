"""Any feed, read once for all who ask the same, and by a few at a time; stacked at the root, beneath those who wait."""

from __future__ import annotations

import asyncio
from typing import TypeAlias

from service.domain.errors import Unavailable
from service.ports.feed import EventFilter, Feed, FeedPage, Lag, News

_Asked: TypeAlias = "tuple[str | None, str | None, int, EventFilter]"


class SharedFeed:
    """Answers as `feed` does, from a reading that began after the question: one event wakes hundreds at once.

    Whoever asks what somebody in the line asks already shares that answer, `at_once` readings are under way, and all
    others stand in line; so writers always find a connection. Where one reading failed because the database does not
    answer, all in the line are told so at once.
    """

    def __init__(self, feed: Feed, at_once: int) -> None:
        self._feed = feed
        self._places = asyncio.Semaphore(at_once)
        self._line: dict[_Asked, asyncio.Task[FeedPage]] = {}
        self._failures = 0

    async def page(self, workspace: str | None, after: str | None, limit: int, wanted: EventFilter) -> FeedPage:
        """See the port; raises `Unavailable`, too, when those in front were told so."""
        asked = (workspace, after, limit, wanted)
        reading = self._line.get(asked)
        if reading is None:
            reading = self._line[asked] = asyncio.create_task(self._read(asked))
            reading.add_done_callback(_heed)
        return await asyncio.shield(reading)

    async def edge(self) -> str:
        """See the port."""
        return await self._feed.edge()

    async def news(self, after: str | None) -> News:
        """See the port."""
        return await self._feed.news(after)

    async def lag(self) -> Lag:
        """See the port."""
        return await self._feed.lag()

    async def _read(self, asked: _Asked) -> FeedPage:
        failures = self._failures
        async with self._places:
            del self._line[asked]
            if self._failures != failures:
                raise Unavailable
            try:
                return await self._feed.page(*asked)
            except Unavailable:
                self._failures += 1
                raise


def _heed(reading: asyncio.Task[FeedPage]) -> None:
    """Look at what became of it, though everyone who asked has left."""
    if not reading.cancelled():
        reading.exception()
