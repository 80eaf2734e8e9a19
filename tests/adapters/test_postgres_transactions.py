"""How a change is carried out: its round trips, how durable its commits are, and what is left of one that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from asyncpg.connection import LoggedQuery

from service.adapters.postgres.database import SESSION, Database
from service.adapters.postgres.locks import lock_of
from service.adapters.postgres.opening import open_database
from service.adapters.postgres.refs import OF_BLOB
from service.domain.errors import BadRequest, IdempotencyInProgress, NotFound, Unavailable
from service.domain.ref import Labels
from service.ports.idempotency import Replay
from tests.parts.audit import ledger_flaws
from tests.parts.ledgers import (
    ACTOR,
    IMAGE,
    UPLOAD,
    Ledger,
    attach,
    blob_claim_on,
    book,
    claim_on,
    fresh,
    fresh_blob,
    holding_judge,
    new_hash,
    opened_database,
    postgres_ledger,
    release,
)
from tests.parts.postgres import lock_waiters, session

pytestmark = pytest.mark.anyio

WITNESS = """
CREATE TABLE witness (subject text, synchronous_commit text);
CREATE FUNCTION bear_witness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO witness VALUES (TG_TABLE_NAME || ' ' || lower(TG_OP), current_setting('synchronous_commit'));
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER witness AFTER INSERT OR UPDATE ON objects
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION bear_witness();
CREATE CONSTRAINT TRIGGER witness AFTER INSERT ON events
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION bear_witness();
"""
OPEN_TRANSACTIONS = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"""


@asynccontextmanager
async def narrow(dsn: str) -> AsyncIterator[Ledger]:
    """Ledgers with a single connection: whatever is left on it, the next call meets."""
    async with opened_database(dsn, 1) as database:
        yield postgres_ledger(database)


async def trips(dsn: str, prepare: Callable[[Ledger], Awaitable[Callable[[], Awaitable[object]]]]) -> list[str]:
    """The statements of the call that `prepare` returns, once its like has been made before."""
    async with opened_database(dsn, 1) as database:
        ledger = postgres_ledger(database)
        await (await prepare(ledger))()
        call, statements = await prepare(ledger), list[str]()

        def log(query: LoggedQuery) -> None:
            statements.append(query.query)

        async with database.connection() as connection:
            connection.add_query_logger(log)
        await call()
        return statements


# --- round trips ------------------------------------------------------------------------------------------------------


async def test_an_attach_is_four_round_trips(database_url: str) -> None:
    async def prepare(ledger: Ledger) -> Callable[[], Awaitable[object]]:
        workspace = await ledger.workspace()
        sha256 = await ledger.hold(workspace)
        await ledger.attach(attach(book(workspace), "pages", sha256))
        return lambda: ledger.change(attach(book(workspace), "pages", sha256), claim_on("a key"))

    begin, load, write, commit = await trips(database_url, prepare)
    assert begin.startswith("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(")
    assert begin.count("pg_advisory_xact_lock") == 3
    assert load.lstrip().startswith("SELECT")
    assert write.lstrip().startswith("WITH event AS (INSERT INTO events")
    assert commit == "COMMIT"


async def test_a_new_upload_is_six_round_trips(database_url: str) -> None:
    async def prepare(ledger: Ledger) -> Callable[[], Awaitable[object]]:
        workspace, sha256 = await ledger.workspace(), new_hash()
        await ledger.hold(workspace)

        async def upload() -> None:
            judge = holding_judge(workspace, sha256)
            assert await ledger.blobs.renew(workspace, [sha256], judge, blob_claim_on("a key")) == {}
            await ledger.publish(workspace, sha256, claim=blob_claim_on("a key"))

        return upload

    assert len(await trips(database_url, prepare)) == 6


@pytest.mark.parametrize("call", ["find", "of_entity", "of_blob"])
async def test_reading_is_one_round_trip(database_url: str, call: str) -> None:
    async def prepare(ledger: Ledger) -> Callable[[], Awaitable[object]]:
        workspace = await ledger.workspace()
        outcome = await ledger.attach(attach(book(workspace), "pages", await ledger.hold(workspace)))
        assert outcome.ref is not None
        ref = outcome.ref.ref
        return {
            "find": lambda: ledger.refs.find(workspace, ref.ref_id),
            "of_entity": lambda: ledger.refs.of_entity(ref.entity),
            "of_blob": lambda: ledger.refs.of_blob(workspace, ref.sha256),
        }[call]

    assert len(await trips(database_url, prepare)) == 1


async def test_refs_of_a_blob_are_read_in_the_order_of_an_index(database_url: str) -> None:
    async with opened_database(database_url, 1) as database, database.locked(()) as connection:
        await connection.execute("SET LOCAL enable_sort = off; SET LOCAL enable_incremental_sort = off")
        plan = [str(row[0]) for row in await connection.fetch(f"EXPLAIN {OF_BLOB}", 1, bytes(32))]
    assert any("refs_holding" in line for line in plan)
    assert not any("Sort" in line for line in plan), plan


async def test_only_a_reservation_does_not_wait_for_the_disk(fresh_url: str) -> None:
    async with narrow(fresh_url) as ledger, session(fresh_url) as behind:
        await behind.execute(WITNESS)
        workspace, sha256 = await ledger.workspace(), new_hash()
        reservation = await ledger.objects.reserve(sha256, 10, UPLOAD)
        await ledger.blobs.publish(workspace, reservation, IMAGE, holding_judge(workspace, sha256))
        await ledger.attach(attach(book(workspace), "cover", sha256, 0))
        seen = [tuple(row) for row in await behind.fetch("SELECT DISTINCT * FROM witness ORDER BY 1, 2")]
    assert seen == [("events insert", "on"), ("objects insert", "off"), ("objects update", "on")]


# --- locks that somebody else holds -----------------------------------------------------------------------------------


@pytest.fixture
async def hasty(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ledger]:
    """Ledgers that wait for a lock for a moment only."""
    monkeypatch.setattr("service.adapters.postgres.database.SESSION", {**SESSION, "lock_timeout": "50ms"})
    async with opened_database(database_url, 2) as database:
        yield postgres_ledger(database)


async def test_a_request_whose_first_is_still_running_is_told_so(
    database_url: str, ledger: Ledger, hasty: Ledger
) -> None:
    workspace, claim = await ledger.workspace(), blob_claim_on("still running")
    sha256 = new_hash()
    async with session(database_url) as other:
        await other.execute("BEGIN")
        await other.execute("SELECT FROM workspaces WHERE slug = $1 FOR UPDATE", workspace)
        first = asyncio.create_task(ledger.publish(workspace, sha256, claim=claim))
        await lock_waiters(other)
        with pytest.raises(IdempotencyInProgress):
            await hasty.publish(workspace, sha256, claim=claim)
        await other.execute("ROLLBACK")
        outcome = fresh_blob((await first).outcome)
    assert (await hasty.publish(workspace, sha256, claim=claim)).outcome == Replay(claim.render(outcome))
    assert len(await ledger.events(workspace)) == 1


@pytest.mark.parametrize("with_key", [False, True])
async def test_a_lock_that_something_else_holds_is_a_reason_to_try_again(
    database_url: str, hasty: Ledger, *, with_key: bool
) -> None:
    workspace = await hasty.workspace()
    command = attach(book(workspace), "pages", await hasty.hold(workspace))
    claim = claim_on("a key") if with_key else None
    async with session(database_url) as other:
        lock = lock_of("entity", workspace, command.entity.type, command.entity.id)
        await other.execute("SELECT pg_advisory_lock($1)", lock)
        with pytest.raises(Unavailable) as refused:
            await hasty.change(command, claim)
        assert not isinstance(refused.value, IdempotencyInProgress)
        await other.execute("SELECT pg_advisory_unlock($1)", lock)
    assert fresh(await hasty.change(command, claim)).version == 1


async def test_a_deadlock_with_a_stranger_is_a_reason_to_try_again(database_url: str, ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    async with session(database_url) as stranger:
        await stranger.execute("SET deadlock_timeout = '1min'")  # so that it is the ledger that finds the circle
        await stranger.execute("BEGIN")
        await stranger.execute("SELECT FROM workspaces WHERE slug = $1 FOR UPDATE", workspace)
        publishing = asyncio.create_task(ledger.publish(workspace, sha256))
        await lock_waiters(stranger)
        crossing = asyncio.create_task(stranger.execute("SELECT pg_advisory_xact_lock($1)", lock_of("blob", sha256)))
        with pytest.raises(Unavailable):
            await publishing
        await crossing
        await stranger.execute("ROLLBACK")
    assert await ledger.events(workspace) == []
    assert fresh_blob((await ledger.publish(workspace, sha256)).outcome).blob.sha256 == sha256


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
async def test_an_object_that_a_sweep_condemns_meanwhile_is_not_published(
    database: Database, database_url: str, ledger: Ledger, end: str
) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    reservation = await ledger.objects.reserve(sha256, 10, UPLOAD)
    async with session(database_url) as sweep:
        await sweep.execute("BEGIN")
        await sweep.execute(
            "UPDATE objects SET state = 'condemned', delete_after = now() WHERE id = $1", reservation.object_id
        )
        judge = holding_judge(workspace, sha256)
        publishing = asyncio.create_task(ledger.blobs.publish(workspace, reservation, IMAGE, judge))
        await lock_waiters(sweep)
        await sweep.execute(end)
        if end == "COMMIT":
            with pytest.raises(Unavailable):
                await publishing
        else:
            assert (await publishing).object_used
    assert len(await ledger.events(workspace)) == (end == "ROLLBACK")
    assert await ledger_flaws(database) == []


# --- what is left of a change that was broken off ---------------------------------------------------------------------


@asynccontextmanager
async def held_up(dsn: str, stage: str, workspace: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Whoever publishes or attaches next waits at this stage of its transaction."""
    statements = {
        "begin": f"SELECT pg_advisory_xact_lock({lock_of('entity', workspace, 'book', '42')})",
        "load": "LOCK TABLE entities IN ACCESS EXCLUSIVE MODE",
        "write": "LOCK TABLE entities IN SHARE MODE",
    }
    async with session(dsn) as other:
        await other.execute("BEGIN")
        await other.execute(statements[stage])
        yield other
        await other.execute("ROLLBACK")


@pytest.mark.parametrize("stage", ["begin", "load", "write"])
async def test_a_cancelled_change_leaves_nothing_behind_on_its_connection(database_url: str, stage: str) -> None:
    async with narrow(database_url) as ledger:
        workspace = await ledger.workspace()
        command = attach(book(workspace), "pages", await ledger.hold(workspace))
        async with held_up(database_url, stage, workspace) as other:
            changing = asyncio.create_task(ledger.change(command, claim_on("a key")))
            await lock_waiters(other)
            changing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await changing
            await other.execute("SELECT pg_stat_clear_snapshot()")
            assert await other.fetchval(OPEN_TRANSACTIONS) == 0
        assert len(await ledger.events(workspace)) == 1
        assert fresh(await ledger.change(command, claim_on("a key"))).version == 1


@pytest.mark.parametrize("stage", ["begin", "load", "write"])
async def test_a_change_cancelled_twice_frees_its_connection_too(database_url: str, stage: str) -> None:
    async with narrow(database_url) as ledger:
        workspace = await ledger.workspace()
        command = attach(book(workspace), "pages", await ledger.hold(workspace))
        async with held_up(database_url, stage, workspace) as other:
            changing = asyncio.create_task(ledger.change(command))
            await lock_waiters(other)
            changing.cancel()
            await asyncio.sleep(0)
            changing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await changing
        assert fresh(await ledger.change(command)).version == 1


@pytest.mark.parametrize("stage", ["begin", "load", "write"])
async def test_a_connection_that_dies_under_a_change_is_a_reason_to_try_again(database_url: str, stage: str) -> None:
    async with narrow(database_url) as ledger:
        workspace = await ledger.workspace()
        command = attach(book(workspace), "pages", await ledger.hold(workspace))
        async with held_up(database_url, stage, workspace) as other:
            changing = asyncio.create_task(ledger.change(command))
            await lock_waiters(other)
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            with pytest.raises(Unavailable):
                await changing
        assert fresh(await ledger.change(command)).version == 1


async def test_a_pool_without_a_free_connection_is_a_reason_to_try_again(database_url: str) -> None:
    async with opened_database(database_url, 1, patience=0.1) as database:
        async with database.connection():
            with pytest.raises(Unavailable):
                await database.fetch("SELECT 1")
        assert await database.fetch("SELECT 1")


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "/nowhere"},
        {"host": "127.0.0.1", "port": 1},
        {"database": "there is none"},
        {"user": "nobody-we-know"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_a_database_that_cannot_be_reached_is_a_reason_to_try_again(
    database_url: str, wrong: dict[str, object]
) -> None:
    database = await open_database({"dsn": database_url, **wrong}, 1)
    with pytest.raises(Unavailable):
        await database.fetch("SELECT 1")
    await database.aclose()


async def test_a_database_that_only_reads_is_a_reason_to_try_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_only = {**SESSION, "default_transaction_read_only": "on"}
    monkeypatch.setattr("service.adapters.postgres.database.SESSION", read_only)
    async with narrow(database_url) as ledger:
        with pytest.raises(Unavailable):
            await ledger.objects.reserve(new_hash(), 1, UPLOAD)


async def test_a_schema_that_is_missing_is_a_reason_to_try_again(empty_url: str) -> None:
    async with narrow(empty_url) as ledger:
        with pytest.raises(Unavailable):
            await ledger.objects.reserve(new_hash(), 1, UPLOAD)


# --- texts ------------------------------------------------------------------------------------------------------------


async def test_only_a_survey_may_take_longer_than_a_request_waits(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.adapters.postgres.database.COMMAND_SECONDS", 0.3)
    monkeypatch.setitem(SESSION, "statement_timeout", "300ms")
    async with opened_database(database_url, 1) as database:
        with pytest.raises(Unavailable):
            await database.fetch("SELECT pg_sleep(1)")
        assert [tuple(row) for row in await database.survey("SELECT 1 FROM pg_sleep(1)")] == [(1,)]
        with pytest.raises(Unavailable):
            await database.survey("UPDATE sentinel SET placed_at = NULL")
        with pytest.raises(Unavailable):
            await database.fetch("SELECT pg_sleep(1)")


@pytest.mark.parametrize("text", ["NUL\0", "half a \ud83d"])
async def test_text_that_postgres_cannot_keep_is_the_callers_mistake(database_url: str, text: str) -> None:
    async with narrow(database_url) as ledger:
        workspace = await ledger.workspace()
        sha256 = await ledger.hold(workspace)
        with pytest.raises(BadRequest):
            await ledger.change(attach(book(workspace), "cover", sha256, 0, labels=Labels(alt=text)))
        with pytest.raises(BadRequest):
            await ledger.refs.of_entity(book(text))
        assert len(await ledger.events(workspace)) == 1


@pytest.mark.parametrize(
    "text",
    ["", " ", "日本語", "👩‍👩‍👧‍👦", "\uffff\ufffe", "e\u0301", "\u202eright to left", "\U0010ffff", "'; --", "\\u0000"],
)
async def test_odd_text_comes_back_as_it_went_in(ledger: Ledger, text: str) -> None:
    workspace = await ledger.workspace()
    labels = Labels(text, text, text)
    outcome = await ledger.attach(attach(book(workspace), "cover", await ledger.hold(workspace), 0, labels=labels))
    [listed] = (await ledger.refs.of_entity(book(workspace))).refs
    *_, event = await ledger.events(workspace)
    assert outcome.ref == listed
    assert listed.ref.labels == labels
    assert getattr(event, "ref", None) == listed.ref


async def test_a_workspace_is_looked_up_once(database_url: str) -> None:
    async with opened_database(database_url, 1) as database:
        with pytest.raises(NotFound):
            await postgres_ledger(database).blobs.release("not-yet", new_hash(), ACTOR)
        await postgres_ledger(database).workspaces.ensure("not-yet")
        first = await database.workspace_id("not-yet")
        await database.aclose()
        assert await database.workspace_id("not-yet") == first


async def test_a_release_of_an_empty_slot_costs_no_write(database_url: str) -> None:
    async def prepare(ledger: Ledger) -> Callable[[], Awaitable[object]]:
        workspace = await ledger.workspace()
        await ledger.blobs.find(workspace, new_hash())
        return lambda: ledger.change(release(book(workspace), "cover", 0))

    assert len(await trips(database_url, prepare)) == 3
