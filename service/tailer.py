"""One for all: looks at the end of the log while somebody waits, and wakes those that it concerns."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from service.domain.errors import Unavailable
from service.drain import Drain
from service.ports.feed import Feed, News

INTERVAL_S = 0.05
"""Between two looks: what a waiting reader learns late by, at most. Each is one small statement."""

_PATIENCE_S = 1.0
MOST_WATCHES = 1000


class Tailer:
    """`Tail` of one worker. `follow` must run; it asks the database nothing while nobody waits."""

    def __init__(self, feed: Feed, drain: Drain, most: int = MOST_WATCHES) -> None:
        self._feed, self._drain, self._most = feed, drain, most
        self._watches: defaultdict[str, set[_Watch]] = defaultdict(set)
        self._count = 0
        self._wanted = asyncio.Event()

    @contextmanager
    def watch(self, workspace: str) -> Iterator[_Watch]:
        """See the port."""
        if self._count >= self._most:
            raise Unavailable("Too many wait for events here: ask again without waiting, or later.")
        watch = _Watch(self._drain)
        self._watches[workspace].add(watch)
        self._count += 1
        self._wanted.set()
        try:
            yield watch
        finally:
            self._count -= 1
            self._watches[workspace].discard(watch)
            if not self._watches[workspace]:
                del self._watches[workspace]

    async def follow(self) -> None:
        """Look and wake, for ever."""
        while True:
            await self._wanted.wait()
            await self._follow_while_wanted()
            self._wanted.clear()

    async def release(self) -> None:
        """Wake everyone as soon as the process takes its leave."""
        await self._drain.wait()
        self._wake(None)

    async def _follow_while_wanted(self) -> None:
        reached: str | None = None
        while True:
            await asyncio.sleep(INTERVAL_S)
            if not self._count:
                return
            news = await self._look(reached)
            if news is not None:
                # Who began to wait before the first look may have read before what that look calls old.
                self._wake(None if reached is None else news.workspaces)
                reached = news.until

    async def _look(self, reached: str | None) -> News | None:
        try:
            return await self._feed.news(reached)
        except Exception:  # noqa: BLE001 - whoever waits reads by itself at once and is told what is wrong
            self._wake(None)
            await asyncio.sleep(_PATIENCE_S)
            return None

    def _wake(self, workspaces: frozenset[str] | None) -> None:
        for workspace, watches in self._watches.items():
            if workspaces is None or workspace in workspaces:
                for watch in watches:
                    watch.wake()


class _Watch:
    """`Watch` that a tailer wakes."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
        self._changed = False
        self._stirred = asyncio.Event()

    @property
    def ended(self) -> bool:
        """See the port."""
        return self._drain.draining

    def wake(self) -> None:
        """Something may be there to read, or nothing more to wait for."""
        self._changed = True
        self._stirred.set()

    async def news(self, within: float) -> bool:
        """See the port."""
        if not (self._changed or self.ended):
            await self._stir_within(within)
        changed, self._changed = self._changed, False
        self._stirred.clear()
        return changed and not self.ended

    async def _stir_within(self, seconds: float) -> None:
        timer = asyncio.get_running_loop().call_later(seconds, self._stirred.set)
        try:
            await self._stirred.wait()
        finally:
            timer.cancel()


@asynccontextmanager
async def tailing(feed: Feed, drain: Drain) -> AsyncIterator[Tailer]:
    """A tailer at work for as long as the block runs."""
    tailer = Tailer(feed, drain)
    tasks = [asyncio.create_task(tailer.follow()), asyncio.create_task(tailer.release())]
    try:
        yield tailer
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
