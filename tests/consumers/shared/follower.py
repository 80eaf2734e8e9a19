"""The feed, followed for as long as the service lives."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import asyncpg

from refkeep_client import CursorExpired, Refkeep, RefkeepError
from tests.consumers.shared.projection import Projection
from tests.consumers.shared.tracing import following

_log = logging.getLogger(__name__)
_PAUSE_S = 1.0


@dataclass
class Follower:
    """Reads on from the stored cursor: what was applied is never lost with a process, what was not is read again."""

    refkeep: Refkeep
    projection: Projection
    caught_up: bool = False

    async def run(self) -> None:
        """For ever. The client waits out what is Refkeep's; what is ours is tried again from the stored cursor."""
        while True:
            try:
                await self._follow()
            except CursorExpired:
                _log.warning("the cursor has expired: a snapshot is next")
                await self._forget_cursor()
            except (RefkeepError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                _log.exception("the feed is interrupted")
                await asyncio.sleep(_PAUSE_S)

    async def _follow(self) -> None:
        cursor = await self.projection.cursor()
        async for page in self.refkeep.events.pages(cursor):
            with following("refkeep.follow", (event.data.traceparent for event in page.events)):
                await self.projection.take(page)
            self.caught_up = page.caught_up

    async def _forget_cursor(self) -> None:
        try:
            await self.projection.forget_cursor()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await asyncio.sleep(_PAUSE_S)  # it is as it was, and expires again
