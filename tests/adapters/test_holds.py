"""Holds on a real Postgres: what they keep from the collector, in any order of the two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.postgres.holds import PostgresHolds
from service.application.collect import CLAIM
from service.application.lift_hold import LiftHold
from service.application.place_hold import PlaceHold
from service.domain.blob import Sha256
from service.domain.errors import NotFound, OnHold
from service.domain.event import Actor, EventType, HoldEvent
from service.domain.hold import HoldKind
from service.domain.hold_decision import PlaceHold as Command
from tests.parts.blobs import keys
from tests.parts.collecting import MOMENT, QUARANTINE, Yard, opened_yard
from tests.parts.ledgers import ACTOR, LEASE, attach, book, opened_database, postgres_ledger
from tests.parts.postgres import lock_waiters, session

pytestmark = pytest.mark.anyio

OPERATOR = Actor("key:operator")


@pytest.fixture
async def yard(database_url: str, tmp_path: Path) -> AsyncIterator[Yard]:
    store = FilesystemStorage(tmp_path)
    await store.aopen()
    async with (
        opened_database(database_url, 8) as database,
        opened_yard(database, store, postgres_ledger(database)) as made,
    ):
        yield made


async def hold(yard: Yard, sha256: Sha256, kind: HoldKind = HoldKind.LEGAL) -> None:
    await PlaceHold(PostgresHolds(yard.database))(Command(sha256, kind, "a reason", OPERATOR))


async def lift(yard: Yard, sha256: Sha256) -> None:
    await LiftHold(PostgresHolds(yard.database))(sha256, OPERATOR)


async def test_nothing_on_hold_is_collected_and_everything_is_once_it_is_lifted(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    await hold(yard, sha256)
    for _ in range(3):
        await yard.advance(LEASE + QUARANTINE + MOMENT)
        await yard.collect()
        assert await yard.readable(sha256)
        assert await yard.ledger.blobs.find(workspace, sha256) is not None
    plan = await yard.collector().plan()
    assert (plan.release.count, plan.condemn.count, plan.on_hold.count) == (0, 0, 1)
    await lift(yard, sha256)
    await yard.collect()
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert await keys(yard.store) == []
    assert await yard.leftovers() == []
    assert await yard.flaws() == []


async def test_a_blob_that_lost_its_last_holding_under_a_hold_stays_until_it_is_lifted(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    await hold(yard, sha256)
    await yard.ledger.blobs.release(workspace, sha256, ACTOR)
    await yard.collect()
    assert await yard.readable(sha256)
    await lift(yard, sha256)
    await yard.collect()
    assert await yard.key_of(sha256) is None


async def test_condemned_bytes_stay_in_the_store_while_their_hash_is_on_hold(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    await yard.ledger.blobs.release(workspace, sha256, ACTOR)
    await yard.collect()
    await hold(yard, sha256)
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert len(await keys(yard.store)) == 1
    backlog = await yard.collector().collection.backlog()
    assert backlog.condemned == 0
    await lift(yard, sha256)
    await yard.collect()
    assert await keys(yard.store) == []


async def test_what_is_on_hold_does_not_stand_in_the_way_of_the_rest(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    for sha256 in [await yard.upload(workspace) for _ in range(5)]:
        await hold(yard, sha256)
        await yard.ledger.blobs.release(workspace, sha256, ACTOR)
        await lift(yard, sha256)
    await yard.collect()
    for row in await yard.database.fetch("SELECT sha256 FROM objects"):
        await hold(yard, Sha256(row["sha256"].hex()))
    await yard.ledger.blobs.release(workspace, await yard.upload(workspace), ACTOR)
    await yard.collect()
    await yard.advance(QUARANTINE + MOMENT)
    assert len(await yard.collector().collection.claim(1, CLAIM)) == 1


async def test_a_hold_that_comes_after_the_reapers_look_is_seen_under_the_objects_lock(
    yard: Yard, database_url: str
) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    await yard.ledger.blobs.release(workspace, sha256, ACTOR)
    await yard.collect()
    await yard.advance(QUARANTINE + MOMENT)
    async with session(database_url) as behind:
        await behind.execute("BEGIN; LOCK TABLE objects IN ACCESS EXCLUSIVE MODE")
        claiming = asyncio.ensure_future(yard.collector().collection.claim(10, CLAIM))
        await lock_waiters(behind)
        await hold(yard, sha256)
        await behind.execute("COMMIT")
        assert await claiming == []


async def test_a_review_that_looked_before_the_hold_came_deletes_nothing(yard: Yard, database_url: str) -> None:
    """A hold that takes no lock of ours: the foreign key's own lock on the blob is met by the reviewer."""
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    await yard.ledger.blobs.release(workspace, sha256, ACTOR)
    async with session(database_url) as rogue:
        await rogue.execute("BEGIN")
        await rogue.execute(
            """INSERT INTO holds (sha256, kind, status, reason, actor, placed_at, blob_id)
            SELECT sha256, 'legal', 451, 'r', 'a', refkeep_now(), id FROM blobs"""
        )
        assert (await yard.collector()()).reviewed.busy == 1
        await rogue.execute("COMMIT")
    await yard.collect()
    assert await yard.readable(sha256)


async def test_the_foreign_key_refuses_the_end_of_a_blob_on_hold(yard: Yard) -> None:
    sha256 = await yard.upload(await yard.ledger.workspace())
    await hold(yard, sha256)
    await yard.database.fetch("DELETE FROM holdings")
    with pytest.raises(asyncpg.ForeignKeyViolationError) as caught:
        await yard.database.fetch("DELETE FROM blobs")
    assert caught.value.constraint_name == "holds_blob_fkey"


async def test_an_upload_that_waits_for_a_hold_is_refused(yard: Yard, database_url: str) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace, b"held meanwhile")
    other = await yard.ledger.workspace()
    async with session(database_url) as behind:
        await behind.execute("BEGIN; LOCK TABLE holds IN SHARE MODE")
        holding = asyncio.ensure_future(hold(yard, sha256))
        await lock_waiters(behind)
        uploading = asyncio.ensure_future(yard.upload(other, b"held meanwhile"))
        await lock_waiters(behind, 2)
        await behind.execute("COMMIT")
    await holding
    with pytest.raises(OnHold):
        await uploading
    await yard.collect()
    assert await yard.flaws() == []


async def test_refs_of_bytes_on_hold_work_as_before(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    await hold(yard, sha256, HoldKind.QUARANTINE)
    outcome = await yard.ledger.attach(attach(book(workspace), "cover", sha256, 0))
    assert outcome.ref is not None
    assert await yard.flaws() == []


async def test_each_holder_reads_of_a_hold_and_the_record_keeps_the_reason(yard: Yard) -> None:
    ours, theirs, others = [await yard.ledger.workspace() for _ in range(3)]
    sha256 = await yard.upload(ours, b"of two")
    await yard.upload(theirs, b"of two")
    await hold(yard, sha256)
    await lift(yard, sha256)
    for workspace in (ours, theirs):
        *_, placed, lifted = await yard.ledger.events(workspace)
        assert isinstance(placed, HoldEvent)
        assert isinstance(lifted, HoldEvent)
        assert (placed.type, lifted.type) == (EventType.HOLD_PLACED, EventType.HOLD_LIFTED)
        assert (placed.hold.reason, placed.workspace, placed.hold.status) == (None, workspace, 451)
    assert await yard.ledger.events(others) == []
    rows = await yard.database.fetch("SELECT data::text FROM events WHERE workspace_id IS NULL ORDER BY txid")
    assert len(rows) == 2
    assert all("a reason" in row["data"] for row in rows)
    assert await yard.flaws() == []


async def test_there_is_nothing_to_lift_twice(yard: Yard) -> None:
    sha256 = await yard.upload(await yard.ledger.workspace())
    await hold(yard, sha256)
    await lift(yard, sha256)
    with pytest.raises(NotFound):
        await lift(yard, sha256)
