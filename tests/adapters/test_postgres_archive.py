"""Proof, replay and the end of old events: the log tells the tables, before events are dropped and after."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from service.adapters.postgres import feed
from service.adapters.postgres.archive import PostgresArchive
from service.adapters.postgres.checkpoints import PostgresCheckpoints
from service.adapters.postgres.database import Database
from service.adapters.postgres.feed import PostgresFeed
from service.adapters.postgres.holds import PostgresHolds
from service.application.drop_events import DropEvents
from service.application.lift_hold import LiftHold
from service.application.place_hold import PlaceHold as PlaceHoldUseCase
from service.application.replay_log import Replayed, ReplayLog
from service.application.verify_log import Finding, VerifyLog
from service.domain.errors import BadCursor, CursorExpired
from service.domain.hold import HoldKind
from service.domain.hold_decision import PlaceHold
from service.domain.lifecycle import Purge, ReleaseRef, Restore
from service.domain.slot import EntityKey
from service.ports.archive import Scope
from service.ports.feed import EventFilter
from service.schemas.cursor import Cursor
from tests.parts.ledgers import ACTOR, Ledger, attach, book, fresh, opened_database, postgres_ledger, release
from tests.parts.postgres import session
from tests.telemetry_recorder import recording

pytestmark = pytest.mark.anyio

ALL = EventFilter()


@pytest.fixture
async def database(fresh_url: str) -> AsyncIterator[Database]:
    """A pool on the test's own database."""
    async with opened_database(fresh_url) as database:
        yield database


async def a_life(database: Database, seed: int = 1) -> str:
    """A workspace in which everything has happened: refs came, moved, went, came back and were purged; holds."""
    ledger, dice = postgres_ledger(database), random.Random(seed)
    workspace = await ledger.workspace()
    hashes = [await ledger.hold(workspace) for _ in range(4)]
    refs = []
    for number in range(12):
        entity = book(workspace, number % 3)
        version = (await ledger.refs.of_entity(entity)).version
        command = attach(entity, "pages", dice.choice(hashes), 0, version=version, shift=True)
        fresh(await ledger.change(command))
        refs.append(command.ref_id)
    for ref_id in dice.sample(refs, 6):
        await ledger.change(ReleaseRef(workspace, ref_id, ACTOR))
        kind = dice.choice([Restore, Purge, None])
        if kind is not None:
            await ledger.change(kind(workspace, ref_id, ACTOR))
    cover = attach(book(workspace, 1), "cover", hashes[0], 0)
    for _ in range(2):
        fresh(await ledger.change(replace(cover, ref_id=attach(cover.entity, "cover", hashes[0]).ref_id)))
    await ledger.change(release(book(workspace, 1), "cover", 0))
    place = PlaceHoldUseCase(PostgresHolds(database))
    await place(PlaceHold(hashes[0], HoldKind.LEGAL, "a reason", ACTOR))
    await place(PlaceHold(hashes[1], HoldKind.LEGAL, "another", ACTOR))
    await LiftHold(PostgresHolds(database))(hashes[1], ACTOR)
    idle = await ledger.hold(workspace)
    await ledger.blobs.release(workspace, idle, ACTOR)
    return workspace


async def findings(database: Database) -> list[Finding]:
    return [finding async for finding in VerifyLog(PostgresArchive(database))()]


async def differences(database: Database) -> list[str]:
    return [found.difference.what for found in await findings(database) if found.difference is not None]


async def replayed(database: Database, scope: Scope) -> list[Replayed]:
    return [each async for each in ReplayLog(PostgresArchive(database))(scope)]


async def drop(database: Database, before: str, batch: int = 1000) -> int:
    return sum([dropped.events async for dropped in DropEvents(PostgresCheckpoints(database))(before, batch)])


async def cursors(database: Database, workspace: str | None, after: str | None = None) -> list[str]:
    page = await PostgresFeed(database).page(workspace, after, 500, ALL)
    return [event.cursor for event in page.events]


# --- verify -----------------------------------------------------------------------------------------------------------


async def test_nothing_is_told_by_no_log(database: Database) -> None:
    assert await findings(database) == []


async def test_a_whole_life_is_told_by_its_log(database: Database) -> None:
    await a_life(database)
    found = await findings(database)
    assert {finding.what for finding in found} == {"entity", "holding", "hold", "tombstone"}
    assert [finding.difference for finding in found if finding.difference] == []
    row = await database.fetchrow("SELECT count(*) FROM events WHERE type NOT LIKE '%hold.%'")
    assert row is not None
    assert sum(finding.events for finding in found if finding.what in {"entity", "holding"}) == row["count"]


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("UPDATE refs SET alt = 'other' WHERE id = (SELECT id FROM refs WHERE state = 'live' LIMIT 1)", ["entity"]),
        ("UPDATE entities SET version = version + 1 WHERE entity_id = '1'", ["entity"]),
        ("DELETE FROM refs WHERE id = (SELECT id FROM refs WHERE state = 'trashed' LIMIT 1)", ["entity"]),
        ("UPDATE holdings SET lease_until = lease_until + interval '1 ms' WHERE blob_id = 1", ["holding"]),
        ("UPDATE holds SET reason = 'none'", ["hold"]),
        ("DELETE FROM holds", ["hold"]),
        ("DELETE FROM tombstones", ["tombstone"]),
        ("DELETE FROM events WHERE ctid = (SELECT max(ctid) FROM events WHERE type LIKE '%ref.rel%')", ["entity"]),
        ("DELETE FROM events WHERE ctid = (SELECT min(ctid) FROM events WHERE type LIKE '%ref.ins%')", ["entity"]),
        ("DELETE FROM events WHERE workspace_id IS NULL AND decision = 'insert'", ["hold"]),
    ],
)  # fmt: skip
async def test_what_the_log_does_not_tell_is_found(database: Database, damage: str, what: list[str]) -> None:
    await a_life(database, seed=3)
    assert await differences(database) == []
    await database.fetch(damage)
    assert sorted(set(await differences(database))) == what


# --- drop -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 7, 1000])
async def test_whatever_is_dropped_checkpoint_and_log_make_the_tables(database: Database, batch: int) -> None:
    workspace = await a_life(database)
    everything = await replayed(database, Scope(rows=False))
    whole = await cursors(database, None)
    middle = whole[len(whole) // 2]
    assert await PostgresCheckpoints(database).count(middle) == len(whole) // 2 + 1

    assert await drop(database, middle, batch) == len(whole) // 2 + 1

    assert await differences(database) == []
    assert await replayed(database, Scope(rows=False)) == everything
    assert await cursors(database, None, middle) == whole[len(whole) // 2 + 1 :]
    await a_life(database, seed=2)
    assert await differences(database) == []
    assert await drop(database, (await cursors(database, None, middle))[-1], batch) > 0
    assert await differences(database) == []
    assert {each.entity for each in everything if each.entity} <= {
        each.entity for each in await replayed(database, Scope(workspace=workspace, rows=False))
    }


async def test_a_cursor_before_the_drop_is_expired_and_the_one_at_it_is_not(database: Database) -> None:
    workspace, watched = await a_life(database), PostgresFeed(database)
    own = await cursors(database, workspace)
    await drop(database, own[5])
    assert await cursors(database, workspace, own[5]) == own[6:]
    for expired in (own[4], None):
        with pytest.raises(CursorExpired):
            await watched.page(workspace, expired, 10, ALL)
        with pytest.raises(CursorExpired):
            await watched.page(workspace, expired, 10, EventFilter(entity_type="book", entity_id="1"))
    stranger = await postgres_ledger(database).workspace()
    assert await cursors(database, stranger) == []  # of which nothing was dropped
    assert await watched.before_last(workspace, 10_000, ALL) == own[5]


async def test_only_what_is_older_and_settled_is_dropped(database: Database) -> None:
    await a_life(database)
    whole = await cursors(database, None)
    checkpoints = PostgresCheckpoints(database)
    [[time]] = await database.fetch("SELECT min(time) FROM events")
    assert await checkpoints.count(time) == 0
    assert (await checkpoints.drop(time, 10, lambda told, _: told)).events == 0
    later = time + timedelta(days=1)
    assert await checkpoints.count(later) == len(whole)
    async with database.locked(()) as open_writer:
        await open_writer.fetch("SELECT pg_current_xact_id()")
        held_back = await postgres_ledger(database).workspace()
        await postgres_ledger(database).hold(held_back)
        assert await checkpoints.count(later) == len(whole)
        assert sum([dropped.events async for dropped in DropEvents(checkpoints)(later)]) == len(whole)
    with pytest.raises(BadCursor):
        await checkpoints.count(str(Cursor(9, 1, 0)))
    [last] = await cursors(database, held_back)
    extent = await checkpoints.extent()
    assert (extent.first, extent.last, extent.dropped, extent.dropped_until) == (last, last, len(whole), whole[-1])
    assert await drop(database, last) == 1
    assert (await checkpoints.extent()).first is None
    assert await differences(database) == []


async def test_a_drop_that_fails_leaves_everything_as_it_was(database: Database) -> None:
    await a_life(database)
    whole = await cursors(database, None)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await PostgresCheckpoints(database).drop(whole[-1], 5, broken)  # type: ignore[arg-type]
    assert await cursors(database, None) == whole
    assert (await PostgresCheckpoints(database).extent()).dropped == 0


async def test_a_log_that_was_dropped_whole_is_not_told_anew_after_a_restore(fresh_url: str) -> None:
    async with opened_database(fresh_url, 1) as database:
        workspace = await a_life(database)
        last = (await cursors(database, None))[-1]
        await drop(database, last)
        await database.fetch("UPDATE checkpoint SET txid = txid + (1::bigint << 40)")
        await database.fetch("UPDATE checkpoint_ends SET txid = txid + (1::bigint << 40)")
    async with opened_database(fresh_url, 1) as database:
        ledger = postgres_ledger(database)
        await ledger.attach(attach(book(workspace), "notes", await ledger.hold(workspace)))
        at = Cursor.parse(last)
        assert len(await cursors(database, workspace, str(Cursor(1, at.txid + 2**40, at.seq)))) == 2
        assert await differences(database) == []


# --- replay -----------------------------------------------------------------------------------------------------------


async def test_a_replay_shows_an_entity_as_it_was_at_any_version(database: Database) -> None:
    ledger = postgres_ledger(database)
    workspace = await ledger.workspace()
    entity, moments = book(workspace), []
    for _ in range(4):
        outcome = await ledger.attach(attach(entity, "notes", await ledger.hold(workspace)))
        moments.append((outcome.event_id, await live(ledger, entity)))
    for number, (event_id, refs) in enumerate(moments, 1):
        scope = Scope(workspace, "book", "42", event_id, rows=False)
        [then] = await replayed(database, scope)
        assert then.entity == entity
        assert then.state is not None
        assert (then.state.version, then.state.live["notes"]) == (number, refs)
    assert await replayed(database, Scope(workspace, "book", "43", rows=False)) == []
    assert await replayed(database, Scope(await ledger.workspace(), rows=False)) == []
    holdings = [each for each in await replayed(database, Scope(workspace, rows=False)) if each.holding]
    assert len(holdings) == 4
    await drop(database, moments[2][0] or "")
    with pytest.raises(CursorExpired):
        await replayed(database, Scope(workspace, until=moments[0][0], rows=False))
    [then] = await replayed(database, Scope(workspace, "book", "42", moments[2][0], rows=False))
    assert then.state is not None
    assert then.state.live["notes"] == moments[2][1]


async def live(ledger: Ledger, entity: EntityKey) -> tuple[object, ...]:
    """The refs of an entity, as the tables say."""
    return tuple(resolved.ref for resolved in (await ledger.refs.of_entity(entity)).refs)


# --- plans and lag ----------------------------------------------------------------------------------------------------


async def test_each_question_to_the_feed_is_asked_of_an_index(database: Database) -> None:
    workspace = await a_life(database)
    await database.fetch("INSERT INTO workspaces (slug) SELECT 'plans-' || g FROM generate_series(1, 99) AS g")
    await database.fetch(
        "INSERT INTO events SELECT 1, g, 7, now(), 'refkeep.ref.updated.v1', 'update', w.id, 'book', (g % 5000)::text, "
        "NULL, NULL, '{}' FROM generate_series(1, 50000) AS g, workspaces w "
        "WHERE w.slug = CASE WHEN g % 2 = 0 THEN $1 ELSE 'plans-' || 1 + g % 99 END",
        workspace,
    )
    # Of a log that was vacuumed some indexes answer alone: autovacuum may come at any time, or not.
    await database.fetch("VACUUM ANALYZE events")
    owner, of_nothing = await database.require_workspace_id(workspace), (None, None, None, None, None)
    early, late = (1, 1000, 0), (1, 49_900, 0)
    of_book = ("book", "42", None, None, None)
    assert "events_entity" in await indexes(database, feed._OF_ENTITY, owner, *early, 100, 10_000, *of_book)
    for query, who in ((feed._OF_WORKSPACE, owner), (feed._OF_ALL, None)):
        assert "Seq Scan" not in await indexes(database, query, who, *late, 10, 100, *of_nothing)
    assert await indexes(database, feed._FRESH, *late) == ["events_pkey"]


async def indexes(database: Database, query: str, *parameters: object) -> list[str]:
    """By which indexes a statement reads the log; a scan of the whole table is named, too."""
    rows = await database.fetch(f"EXPLAIN (FORMAT JSON) {query}", *parameters)
    found: set[str] = set()

    def look(node: dict[str, Any]) -> None:
        if node.get("Relation Name") == "events":
            found.add(node.get("Index Name", node["Node Type"]))
        for child in node.get("Plans", []):
            look(child)

    look(json.loads(rows[0][0])[0]["Plan"])
    return sorted(found)


async def test_a_blocker_is_named_while_events_wait_for_it(database: Database, fresh_url: str) -> None:
    watched, ledger = PostgresFeed(database), postgres_ledger(database)
    workspace = await ledger.workspace()
    await ledger.hold(workspace)
    async with session(fresh_url) as slow:
        await slow.execute("SET application_name = 'slow report'; BEGIN; SELECT pg_current_xact_id()")
        assert (await watched.lag()).blocker is None  # nothing waits
        await ledger.hold(workspace)
        lag = await watched.lag()
        assert lag.waiting == 1
        assert lag.seconds >= 0
        assert lag.blocker is not None
        assert lag.blocker.pid == slow.get_server_pid()
        assert (lag.blocker.application, lag.blocker.state) == ("slow report", "idle in transaction")
        assert lag.blocker.started_at is not None
    async with asyncio.timeout(10):
        while (await watched.lag()).waiting:
            pass


async def test_an_idle_worker_that_looks_for_lag_writes_no_line_about_it(database: Database) -> None:
    with recording("info") as recorder:
        await PostgresFeed(database).lag()
    assert recorder.lines == []


async def test_news_name_the_workspaces_that_have_some(database: Database) -> None:
    watched, ledger = PostgresFeed(database), postgres_ledger(database)
    one, two = await ledger.workspace(), await ledger.workspace()
    before = await watched.news(None)
    assert before.workspaces is None
    assert (await watched.news(before.until)).workspaces == frozenset()
    await ledger.hold(one)
    assert (await watched.news(before.until)).workspaces == frozenset({one})
    after = await watched.news(before.until)
    await ledger.hold(two)
    assert (await watched.news(after.until)).workspaces == frozenset({two})
