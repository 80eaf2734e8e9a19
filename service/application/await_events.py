"""What was decided, as soon as something is."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from service.observability import observed
from service.ports.feed import EventFilter, Feed, FeedPage, Tail


@dataclass(frozen=True, slots=True)
class AwaitEvents:
    """A page of the workspace's log that waits until it has something to tell."""

    feed: Feed
    tail: Tail

    @observed("event.wait", layer="usecase")
    async def __call__(
        self, workspace: str, after: str | None, limit: int, wanted: EventFilter, seconds: float
    ) -> FeedPage:
        """Empty only after `seconds`, or when the process takes its leave.

        Raises `BadCursor`, `CursorExpired`, `Unavailable`.
        """
        end = monotonic() + seconds
        with self.tail.watch(workspace) as watch:
            page = await self.feed.page(workspace, after, limit, wanted)
            while not (page.events or watch.ended or monotonic() >= end):
                if not page.caught_up or await watch.news(end - monotonic()):
                    page = await self.feed.page(workspace, page.next_cursor, limit, wanted)
            return page
