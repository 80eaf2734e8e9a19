"""Everything that a workspace shows, and where in the log to go on from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from service.ports.feed import Feed
from service.ports.snapshot import EntitySnapshot, Snapshot

PAGE = 500
"""Refs at once: what a snapshot keeps in memory."""


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """A cursor, then every entity in a state no older than that."""

    feed: Feed
    snapshot: Snapshot

    async def cursor(self) -> str:
        """Where to follow the feed from; taken before anything else is read, so that there is no gap."""
        return await self.feed.edge()

    async def entities(self, workspace: str) -> AsyncIterator[tuple[EntitySnapshot, ...]]:
        """Entities in pages. Each is of one moment after the cursor's: events up to its version are in it already."""
        page = await self.snapshot.page(workspace, None, PAGE)
        while page:
            yield page
            page = await self.snapshot.page(workspace, page[-1].entity, PAGE)
