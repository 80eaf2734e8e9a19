"""What was decided, in order."""

from __future__ import annotations

from dataclasses import dataclass

from service.observability import observed
from service.ports.feed import EventFilter, Feed, FeedPage


@dataclass(frozen=True, slots=True)
class ListEvents:
    """A page of the workspace's log."""

    feed: Feed

    @observed("event.list", layer="usecase")
    async def __call__(self, workspace: str, after: str | None, limit: int, wanted: EventFilter) -> FeedPage:
        """Raises `BadCursor`."""
        return await self.feed.page(workspace, after, limit, wanted)
