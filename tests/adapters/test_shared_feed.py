"""One reading for all who ask the same, a few at a time: an event wakes hundreds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from service.adapters.postgres.database import Database
from service.adapters.postgres.feed import PostgresFeed
from service.adapters.shared_feed import SharedFeed
from service.domain.errors import BadCursor, Unavailable
from service.ports.feed import EventFilter, FeedPage, Lag, News
from tests.parts.ledgers import Ledger

pytestmark = pytest.mark.anyio

ALL = EventFilter()
AT_ONCE = 2


@dataclass
class Watched:
    """A feed that reads once it is let, seen from outside."""

    feed: PostgresFeed
    open: asyncio.Event = field(default_factory=asyncio.Event)
    broken: bool = False
    begun: int = 0
    under_way: int = 0
    most: int = 0

    async def page(self, workspace: str | None, after: str | None, limit: int, wanted: EventFilter) -> FeedPage:
        self.begun += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.open.wait()
            if self.broken:
                raise Unavailable
            return await self.feed.page(workspace, after, limit, wanted)
        finally:
            self.under_way -= 1

    async def edge(self) -> str:
        return await self.feed.edge()

    async def news(self, after: str | None) -> News:
        return await self.feed.news(after)

    async def lag(self) -> Lag:
        return await self.feed.lag()


@pytest.fixture
def watched(database: Database) -> Watched:
    """Closed."""
    return Watched(PostgresFeed(database))


async def settled() -> None:
    """Everything that can go on without the feed has."""
    for _ in range(20):
        await asyncio.sleep(0)


def ask(feed: SharedFeed, workspace: str, limits: list[int]) -> list[asyncio.Task[FeedPage]]:
    return [asyncio.create_task(feed.page(workspace, None, limit, ALL)) for limit in limits]


async def test_hundreds_who_ask_the_same_share_a_few_readings(watched: Watched, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    sha256 = await ledger.hold(workspace)
    asked = ask(SharedFeed(watched, AT_ONCE), workspace, [10] * 300)
    await settled()
    watched.open.set()
    pages = await asyncio.gather(*asked)
    assert {tuple(event.subject for event in page.events) for page in pages} == {(f"blobs/{sha256}",)}
    assert watched.begun <= AT_ONCE + 1


async def test_a_reading_never_answers_a_question_that_came_after_it_began(watched: Watched, ledger: Ledger) -> None:
    workspace, feed = await ledger.workspace(), SharedFeed(watched, AT_ONCE)
    early = ask(feed, workspace, [10])
    await settled()
    late = ask(feed, workspace, [10])
    await settled()
    assert watched.begun == 2
    watched.open.set()
    await asyncio.gather(*early, *late)


async def test_different_questions_are_read_a_few_at_a_time(watched: Watched, ledger: Ledger) -> None:
    workspace, feed = await ledger.workspace(), SharedFeed(watched, AT_ONCE)
    asked = ask(feed, workspace, list(range(1, 31)))
    await settled()
    assert watched.under_way == AT_ONCE
    watched.open.set()
    assert len(await asyncio.gather(*asked)) == 30
    assert (watched.begun, watched.most) == (30, AT_ONCE)


async def test_one_who_leaves_takes_the_answer_from_nobody(watched: Watched, ledger: Ledger) -> None:
    workspace, feed = await ledger.workspace(), SharedFeed(watched, 1)
    first, leaving, staying = ask(feed, workspace, [10, 20, 20])
    await settled()
    leaving.cancel()
    watched.open.set()
    assert (await first).caught_up
    assert (await staying).caught_up
    assert leaving.cancelled()


async def test_a_database_that_is_gone_keeps_nobody_in_the_line(watched: Watched, ledger: Ledger) -> None:
    workspace, feed = await ledger.workspace(), SharedFeed(watched, AT_ONCE)
    asked = ask(feed, workspace, list(range(1, 31)))
    await settled()
    watched.broken = True
    watched.open.set()
    failures = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(each, Unavailable) for each in failures)
    assert watched.begun == AT_ONCE
    watched.broken = False
    assert (await feed.page(workspace, None, 10, ALL)).caught_up


async def test_a_question_that_is_wrong_is_told_to_those_alone_who_asked_it(watched: Watched, ledger: Ledger) -> None:
    workspace, feed = await ledger.workspace(), SharedFeed(watched, 1)
    watched.open.set()
    wrong, right = feed.page(workspace, "no cursor", 10, ALL), feed.page(workspace, None, 10, ALL)
    failure, page = await asyncio.gather(wrong, right, return_exceptions=True)
    assert isinstance(failure, BadCursor)
    assert isinstance(page, FeedPage)


async def test_everything_else_is_the_feeds_own(watched: Watched, ledger: Ledger) -> None:
    feed, workspace = SharedFeed(watched, AT_ONCE), await ledger.workspace()
    before = await feed.edge()
    await ledger.hold(workspace)
    assert (await feed.news(before)).workspaces == frozenset({workspace})
    assert (await feed.lag()).waiting == 0
