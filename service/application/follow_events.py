"""What was decided, and what comes to be decided, without an end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from service.ports.feed import EventFilter, Feed, FeedPage, Tail


@dataclass(frozen=True, slots=True)
class FollowEvents:
    """The workspace's log from a cursor on, in pages; the one who reads sets the pace, and nothing is kept for it."""

    feed: Feed
    tail: Tail

    async def __call__(
        self, workspace: str, after: str | None, limit: int, wanted: EventFilter, beat: float
    ) -> AsyncGenerator[FeedPage, None]:
        """A page as soon as there is one, an empty one after `beat` seconds without; ends when the process leaves.

        Raises `BadCursor`, `CursorExpired`, `Unavailable`, the first time before anything was yielded.
        """
        with self.tail.watch(workspace) as watch:
            page = await self.feed.page(workspace, after, limit, wanted)
            yield page
            while not watch.ended:
                if not page.caught_up or await watch.news(beat):
                    page = await self.feed.page(workspace, page.next_cursor, limit, wanted)
                    yield page
                elif not watch.ended:
                    yield FeedPage((), page.next_cursor, caught_up=True)
