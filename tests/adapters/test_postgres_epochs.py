"""A log restored into a cluster whose transaction ids start anew goes on after its end."""

from __future__ import annotations

import asyncio

import pytest

from service.adapters.postgres.feed import PostgresFeed
from service.ports.feed import EventFilter
from service.schemas.cursor import Cursor
from tests.parts.ledgers import attach, book, opened_database, postgres_ledger
from tests.parts.postgres import session

pytestmark = pytest.mark.anyio

EPOCHS = "SELECT epoch FROM epochs ORDER BY epoch"


async def append(dsn: str, workspace: str) -> Cursor:
    """A process starts, writes and ends: the place of its event."""
    async with opened_database(dsn, 1) as database:
        ledger = postgres_ledger(database)
        await ledger.workspaces.ensure(workspace)
        outcome = await ledger.attach(attach(book(workspace), "notes", await ledger.hold(workspace)))
        return Cursor.parse(outcome.event_id or "")


async def restore(dsn: str) -> None:
    """As a dump of another cluster would: ids that this one has not reached."""
    async with session(dsn) as connection:
        await connection.execute("UPDATE events SET txid = txid + (1::bigint << 40)")


async def epochs(dsn: str) -> list[int]:
    """All that were opened."""
    async with session(dsn) as connection:
        return [row["epoch"] for row in await connection.fetch(EPOCHS)]


async def read(dsn: str, after: str | None) -> tuple[list[Cursor], str]:
    """What a consumer reads from there, and where it goes on."""
    async with opened_database(dsn, 1) as database:
        page = await PostgresFeed(database).page("kept", after, 100, EventFilter())
        assert page.caught_up
        return [Cursor.parse(event.cursor) for event in page.events], page.next_cursor


async def test_starting_again_opens_no_epoch(fresh_url: str) -> None:
    first, second = await append(fresh_url, "kept"), await append(fresh_url, "kept")
    assert first < second
    assert await epochs(fresh_url) == [1]


async def test_a_restored_log_goes_on_in_a_new_epoch(fresh_url: str) -> None:
    old = await append(fresh_url, "kept")
    await restore(fresh_url)
    new = await append(fresh_url, "kept")
    assert (old.epoch, new.epoch) == (1, 2)
    assert new.txid < old.txid + 2**40
    assert await append(fresh_url, "kept") > new
    assert await epochs(fresh_url) == [1, 2]


async def test_a_consumer_reads_on_across_a_restore_without_gap_or_repeat(fresh_url: str) -> None:
    await append(fresh_url, "kept")
    await restore(fresh_url)
    async with session(fresh_url) as connection:
        reached = await connection.fetchval("SELECT max(txid) FROM events")
    before = str(Cursor(1, reached, 0))
    new = await append(fresh_url, "kept")
    everything, _ = await read(fresh_url, None)
    rest, after = await read(fresh_url, before)
    assert everything == sorted(everything)
    assert [cursor.epoch for cursor in everything] == [1, 1, 2, 2]
    assert rest == everything[2:]
    assert rest[-1] == new
    assert (await read(fresh_url, after))[0] == []


async def test_a_log_restored_twice_has_three_epochs(fresh_url: str) -> None:
    for _ in range(2):
        await append(fresh_url, "kept")
        await restore(fresh_url)
    await append(fresh_url, "kept")
    cursors, _ = await read(fresh_url, None)
    assert [cursor.epoch for cursor in cursors] == [1, 1, 2, 2, 3, 3]


async def test_processes_that_start_together_open_one_epoch(fresh_url: str) -> None:
    await append(fresh_url, "kept")
    await restore(fresh_url)
    written = await asyncio.gather(*(append(fresh_url, "kept") for _ in range(8)))
    assert {cursor.epoch for cursor in written} == {2}
    assert await epochs(fresh_url) == [1, 2]


async def test_reading_alone_opens_the_epoch_before_it_reads(fresh_url: str) -> None:
    await append(fresh_url, "kept")
    await restore(fresh_url)
    cursors, after = await read(fresh_url, None)
    assert len(cursors) == 2
    assert Cursor.parse(after).epoch == 2
    assert (await read(fresh_url, after))[0] == []
    await append(fresh_url, "kept")
    assert len((await read(fresh_url, after))[0]) == 2
