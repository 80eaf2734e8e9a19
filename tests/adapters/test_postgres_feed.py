"""The feed: no gap and no repeat, whoever writes, rolls back or polls meanwhile."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from uuid import uuid4

import pytest

from service.adapters.postgres.database import Database
from service.adapters.postgres.feed import PostgresFeed
from service.application.list_events import ListEvents
from service.domain.decision import Decision, RoleState
from service.domain.errors import BadCursor, NotFound, RoleFull
from service.ports.feed import EventFilter, LoggedEvent
from service.ports.refs import RoleQuestion
from service.schemas.cursor import Cursor
from tests.parts.ledgers import ACTOR, Ledger, attach, book, fresh, new_hash, opened_database, postgres_ledger, release
from tests.parts.postgres import session

pytestmark = pytest.mark.anyio

EVERYTHING = EventFilter()
WRITERS, POLLERS, CHANGES = 8, 4, 40


@pytest.fixture
def feed(database: Database) -> ListEvents:
    """The use case over the feed."""
    return ListEvents(PostgresFeed(database))


async def read_all(feed: ListEvents, workspace: str, after: str | None = None, limit: int = 3) -> list[LoggedEvent]:
    """Every event that can be read now, by as many pages as it takes."""
    events: list[LoggedEvent] = []
    caught_up = False
    while not caught_up:
        page = await feed(workspace, after, limit, EVERYTHING)
        assert len(page.events) <= limit
        events += page.events
        after, caught_up = page.next_cursor, page.caught_up
    return events


async def append(ledger: Ledger, workspace: str, number: int = 42) -> str:
    """The id of a new event."""
    outcome = await ledger.attach(attach(book(workspace, number), "notes", await ledger.hold(workspace)))
    assert outcome.event_id is not None
    return outcome.event_id


# --- pages ------------------------------------------------------------------------------------------------------------


async def test_an_empty_log_has_a_cursor_to_go_on_from(feed: ListEvents, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    page = await feed(workspace, None, 10, EVERYTHING)
    assert (page.events, page.caught_up) == ((), True)
    event_id = await append(ledger, workspace)
    assert [event.cursor for event in await read_all(feed, workspace, page.next_cursor)][-1] == event_id


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 500])
async def test_pages_of_any_size_make_the_whole_log(feed: ListEvents, ledger: Ledger, limit: int) -> None:
    workspace = await ledger.workspace()
    ids = [await append(ledger, workspace) for _ in range(4)]
    events = await read_all(feed, workspace, limit=limit)
    assert [event.cursor for event in events][1::2] == ids
    assert len({event.cursor for event in events}) == 8


async def test_an_event_tells_what_was_stored(feed: ListEvents, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    await append(ledger, workspace)
    acquired, inserted = await read_all(feed, workspace)
    held, ref = await ledger.events(workspace)
    assert (acquired.type, acquired.time, acquired.subject.split("/")[0]) == (held.type.value, held.time, "blobs")
    assert (inserted.type, inserted.time, inserted.subject) == (ref.type.value, ref.time, "book/42")
    assert b'"decision":"insert"' in inserted.data


async def test_a_workspace_reads_its_own_events_only(feed: ListEvents, ledger: Ledger) -> None:
    mine, theirs = await ledger.workspace(), await ledger.workspace()
    await append(ledger, theirs)
    assert await read_all(feed, mine) == []
    with pytest.raises(NotFound):
        await feed("nobody", None, 10, EVERYTHING)


async def test_filters_narrow_and_the_cursor_moves_on_even_when_nothing_matched(
    feed: ListEvents, ledger: Ledger
) -> None:
    workspace = await ledger.workspace()
    command = attach(book(workspace, 1), "notes", await ledger.hold(workspace))
    await ledger.attach(command)
    await append(ledger, workspace, 2)
    await ledger.change(release(book(workspace, 1), "notes", 0, version=1))
    with pytest.raises(RoleFull):
        for _ in range(2):
            await ledger.change(attach(book(workspace, 3), "cover", command.sha256))

    async def matching(wanted: EventFilter) -> list[str]:
        page = await feed(workspace, None, 100, wanted)
        assert page.next_cursor >= (await feed(workspace, None, 100, EVERYTHING)).events[-1].cursor
        return [event.type.split(".", 1)[1] for event in page.events]

    of_one_ref = ["ref.inserted.v1", "ref.released.v1"]
    assert await matching(EventFilter(entity_type="book", entity_id="1")) == of_one_ref
    assert await matching(EventFilter(ref_id=command.ref_id)) == of_one_ref
    assert await matching(EventFilter(decision="reject")) == ["ref.rejected.v1"]
    assert len(await matching(EventFilter(sha256=command.sha256))) == 5
    assert await matching(EventFilter(entity_type="magazine")) == []
    assert await matching(EventFilter(sha256=new_hash())) == []


@pytest.mark.parametrize("stretch", [1, 2, 5])
async def test_a_narrow_filter_reads_the_log_in_stretches_and_misses_nothing(
    feed: ListEvents, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, stretch: int
) -> None:
    monkeypatch.setattr("service.adapters.postgres.feed._SCAN", stretch)
    workspace = await ledger.workspace()
    wanted = [await append(ledger, workspace, number) for number in (1, 2, 2, 2, 1, 2)][::4]
    found: list[str] = []
    after, caught_up = None, False
    while not caught_up:
        page = await feed(workspace, after, 1, EventFilter(decision="insert", entity_type="book", entity_id="1"))
        again = await feed(workspace, after, 1, EventFilter(ref_id=uuid4()))
        assert again.events == ()
        found += [event.cursor for event in page.events]
        after, caught_up = page.next_cursor, page.caught_up
    assert found == wanted
    everything: list[str] = []
    after, caught_up = None, False
    while not caught_up:
        page = await feed(workspace, after, 2, EventFilter(decision="insert"))
        everything += [event.cursor for event in page.events]
        after, caught_up = page.next_cursor, page.caught_up
    assert everything == [event.cursor for event in await read_all(feed, workspace)]


@pytest.mark.parametrize("cursor", ["", "x", "1-2", "1-2-3-4", "01-2-3", "1-2-FF", "-1-2-3", "ffffffff-1-1", "1-2-3 "])
async def test_a_cursor_that_was_not_made_here_is_refused(feed: ListEvents, ledger: Ledger, cursor: str) -> None:
    with pytest.raises(BadCursor):
        await feed(await ledger.workspace(), cursor, 10, EVERYTHING)


async def test_a_cursor_from_a_future_that_a_restore_took_back_is_refused(feed: ListEvents, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    await append(ledger, workspace)
    with pytest.raises(BadCursor):
        await feed(workspace, str(Cursor(1, 2**62, 0)), 10, EVERYTHING)


# --- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
async def test_an_open_writer_holds_back_what_comes_after_it(
    feed: ListEvents, ledger: Ledger, database_url: str, end: str
) -> None:
    workspace = await ledger.workspace()
    before = await append(ledger, workspace)
    async with session(database_url) as slow:
        await slow.execute("BEGIN")
        slow_id = Cursor(1, await slow.fetchval("SELECT pg_current_xact_id()::text::bigint"), 0)
        await slow.execute(
            "INSERT INTO events (epoch, txid, seq, time, type, decision, workspace_id, data) "
            "SELECT 1, $1, 0, now(), 'slow', 'insert', id, '{}' FROM workspaces WHERE slug = $2",
            slow_id.txid,
            workspace,
        )
        after = await append(ledger, workspace)
        held_back = await feed(workspace, None, 100, EVERYTHING)
        assert [event.cursor for event in held_back.events][-1] == before
        await slow.execute(end)
    rest = [event.cursor for event in await read_all(feed, workspace, held_back.next_cursor)]
    assert rest[-1] == after
    assert (rest[0] == str(slow_id)) is (end == "COMMIT")
    assert len(rest) == (3 if end == "COMMIT" else 2)


async def test_writers_rollbacks_and_pollers_at_once_make_no_gap_and_no_repeat(database_url: str) -> None:
    async with opened_database(database_url, WRITERS + POLLERS) as database:
        feed, ledger = ListEvents(PostgresFeed(database)), postgres_ledger(database)
        workspace = await ledger.workspace()
        hashes = [await ledger.hold(workspace) for _ in range(WRITERS)]
        written: list[str] = []

        async def write(writer: int) -> None:
            dice, entity = random.Random(writer), book(workspace, writer % 3)
            for _ in range(CHANGES):
                if dice.random() < 0.3:
                    await roll_back(ledger, workspace, writer)
                cover = attach(entity, "cover", dice.choice(hashes), 0)
                outcome = fresh(await ledger.change(cover if dice.random() < 0.7 else release(entity, "cover", 0)))
                written.extend(event_id for event_id in [outcome.event_id] if event_id is not None)

        async def poll(poller: int) -> list[str]:
            dice, seen, after = random.Random(poller), list[str](), None
            while True:
                is_last = writers.done()
                page = await feed(workspace, after, dice.randrange(1, 9), EVERYTHING)
                seen += [event.cursor for event in page.events]
                after = page.next_cursor
                if is_last and page.caught_up:
                    return seen

        writers = asyncio.ensure_future(asyncio.gather(*(write(number) for number in range(WRITERS))))
        read = await asyncio.gather(*(poll(number) for number in range(POLLERS)))
        await writers
        told = [event.cursor for event in await read_all(feed, workspace, limit=500)]
    assert set(written) <= set(told)
    assert len(told) == len(written) + len(hashes)
    for seen in read:
        assert seen == told


async def test_the_feed_tells_an_entitys_versions_in_their_order(database_url: str) -> None:
    async with opened_database(database_url, WRITERS) as database:
        ledger = postgres_ledger(database)
        workspace = await ledger.workspace()
        hashes = [await ledger.hold(workspace) for _ in range(WRITERS)]
        commands = [attach(book(workspace), "cover", sha256, 0) for sha256 in hashes * 5]
        await asyncio.gather(*(ledger.change(command) for command in commands))
        events = await read_all(ListEvents(PostgresFeed(database)), workspace, limit=500)
    told = [int(event.data.split(b'"version":')[1].split(b"}")[0]) for event in events if event.subject == "book/42"]
    assert told == sorted(told)
    assert told == list(range(1, told[-1] + 1))


async def roll_back(ledger: Ledger, workspace: str, writer: int) -> None:
    """A transaction that had its id and came to nothing."""

    class ChangedMyMind(Exception):
        pass

    def judge(state: RoleState) -> Decision:
        raise ChangedMyMind

    with pytest.raises(ChangedMyMind):
        await ledger.refs.change(RoleQuestion(book(workspace, writer), "cover", 0, None), judge)


async def test_actors_and_traces_are_told(feed: ListEvents, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    command = attach(book(workspace), "cover", await ledger.hold(workspace), 0, actor=replace(ACTOR, id="someone"))
    await ledger.attach(command)
    [*_, event] = await read_all(feed, workspace)
    assert b'"actor":"someone"' in event.data
    assert ACTOR.traceparent is not None
    assert ACTOR.traceparent.encode() in event.data
