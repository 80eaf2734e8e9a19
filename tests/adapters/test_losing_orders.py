"""Each order of two connections that loses something in an obvious design, played to its end on ours.

docs/safety-tests.md says which design each of them ends, and where the others are.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.postgres.holds import PostgresHolds
from service.adapters.postgres.locks import entity_lock
from service.application.place_hold import PlaceHold
from service.application.upload_blob import Upload
from service.domain.blob import Sha256
from service.domain.errors import BlobNotHeld, StorageUnavailable
from service.domain.event import EventType, HoldingEvent, RefEvent
from service.domain.hold import HoldKind
from service.domain.hold_decision import PlaceHold as Command
from tests.parts.blobs import keys
from tests.parts.collecting import MOMENT, QUARANTINE, Yard, opened_yard
from tests.parts.faulty_store import Fate, FaultyStore
from tests.parts.ledgers import ACTOR, LEASE, attach, book, claim_on, opened_database, postgres_ledger
from tests.parts.lives import AFTER_LOAD, AFTER_PUT, BEFORE_DELETE, BEFORE_PUT, Life, Points, begin_life
from tests.parts.postgres import lock_waiters, session

pytestmark = pytest.mark.anyio

CONTENT = b"of all orders"
SHA256 = Sha256(hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
async def yard(database_url: str, tmp_path: Path) -> AsyncIterator[Yard]:
    store = FilesystemStorage(tmp_path)
    await store.aopen()
    async with (
        opened_database(database_url, 8) as database,
        opened_yard(database, store, postgres_ledger(database)) as made,
    ):
        yield made


def life(yard: Yard, store: FaultyStore | None = None, at: str = "") -> Life:
    """A process that waits when it comes to a point."""
    return begin_life(yard.database._pool, store or FaultyStore(yard.store), Points(at, ends=False))


async def waiting(work: Awaitable[Any], life: Life) -> asyncio.Task[Any]:
    """The work, once it has come to the point where its process waits."""
    task = asyncio.ensure_future(work)
    async with asyncio.timeout(10):
        await life.points.waits.wait()
    return task


def sending(life: Life, workspace: str) -> Awaitable[object]:
    """An upload by this process."""

    async def body() -> AsyncIterator[bytes]:
        yield CONTENT

    return life.use.upload_blob(Upload(workspace, ACTOR, body(), 1000))


async def condemned(yard: Yard) -> str:
    """A workspace that has just let go of the bytes; their object may go."""
    workspace = await yard.ledger.workspace()
    await yard.ledger.blobs.release(workspace, await yard.upload(workspace, CONTENT), ACTOR)
    await yard.collect()
    await yard.advance(QUARANTINE + MOMENT)
    return workspace


# --- bytes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fate", [Fate.LATE, Fate.TWICE])
async def test_a_delete_that_arrives_after_the_bytes_were_sent_again_does_not_meet_them(yard: Yard, fate: Fate) -> None:
    workspace, store = await condemned(yard), FaultyStore(yard.store)
    store.fates.append(fate)
    collecting = asyncio.ensure_future(life(yard, store).collect())
    if fate is Fate.LATE:
        with pytest.raises(StorageUnavailable):
            await collecting
    await asyncio.wait({collecting})
    await yard.upload(workspace, CONTENT)
    [straggler] = store.stragglers
    await store.land(straggler)
    assert await yard.readable(SHA256)
    assert await yard.flaws() == []


async def test_bytes_are_removed_only_when_nobody_can_refer_to_them_any_more(yard: Yard) -> None:
    workspace = await condemned(yard)
    reaper = life(yard, at=BEFORE_DELETE)
    reaping = await waiting(reaper.collect(), reaper)
    with pytest.raises(BlobNotHeld):
        await yard.ledger.attach(attach(book(workspace), "cover", SHA256, 0))
    await yard.upload(workspace, CONTENT)
    await yard.ledger.attach(attach(book(workspace), "cover", SHA256, 0))
    reaper.points.may_go_on.set()
    await reaping
    assert await yard.readable(SHA256)
    assert await yard.flaws() == []


@pytest.mark.parametrize("at", [BEFORE_PUT, AFTER_PUT])
async def test_a_row_knows_of_bytes_before_the_store_does(yard: Yard, at: str) -> None:
    """Whoever removes what has no row cannot meet an upload under way."""
    workspace, sender = await yard.ledger.workspace(), life(yard, at=at)
    uploading = await waiting(sending(sender, workspace), sender)
    states = await yard.ledger.object_states()
    assert [*states.values()] == ["pending"]
    assert {*await keys(yard.store)} <= {*states}
    sender.points.may_go_on.set()
    await uploading
    assert await yard.readable(SHA256)


# --- reviews ----------------------------------------------------------------------------------------------------------


async def test_a_review_that_waits_for_its_lock_looks_anew_once_it_has_it(yard: Yard, database_url: str) -> None:
    """A check in the statement that locks, or in the snapshot of one before it, would miss the ref."""
    workspace = await yard.ledger.workspace()
    await yard.upload(workspace, CONTENT)
    await yard.advance(LEASE + MOMENT)
    async with session(database_url) as rogue, session(database_url) as behind:
        await behind.execute("BEGIN; LOCK TABLE holding_reviews IN EXCLUSIVE MODE")
        collecting = asyncio.ensure_future(yard.collector()())
        await lock_waiters(behind)
        await rogue.execute("INSERT INTO entities SELECT id, 'book', '1', 1 FROM workspaces WHERE slug = $1", workspace)
        await rogue.execute(
            """INSERT INTO refs (id, workspace_id, entity_type, entity_id, role, position, state, visibility, blob_id,
                created_at)
            SELECT gen_random_uuid(), w.id, 'book', '1', 'cover', 0, 'live', 'public', b.id, refkeep_now()
            FROM workspaces w, blobs b WHERE w.slug = $1""",
            workspace,
        )
        await behind.execute("COMMIT")
    reviewed = (await collecting).reviewed
    assert (reviewed.busy, reviewed.released.count) == (0, 0), "it was seen, and not only refused by the foreign key"
    assert await yard.readable(SHA256)


async def test_a_hold_that_comes_between_a_reviews_look_and_its_end_keeps_the_bytes(
    yard: Yard, database_url: str
) -> None:
    workspace = await yard.ledger.workspace()
    await yard.ledger.blobs.release(workspace, await yard.upload(workspace, CONTENT), ACTOR)
    async with session(database_url) as behind:
        await behind.execute("BEGIN")
        await behind.execute("SELECT FROM objects FOR UPDATE")
        collecting = asyncio.ensure_future(yard.collector()())
        await lock_waiters(behind)
        command = Command(SHA256, HoldKind.LEGAL, "a reason", ACTOR)
        holding = asyncio.ensure_future(PlaceHold(PostgresHolds(yard.database))(command))
        await lock_waiters(behind, 2)
        await behind.execute("COMMIT")
    assert (await collecting).reviewed.condemned.count == 1
    await holding
    await yard.advance(10 * QUARANTINE)
    await yard.collect()
    assert len(await keys(yard.store)) == 1, "an acknowledged hold keeps what there was when it was acknowledged"


# --- the order of the log ---------------------------------------------------------------------------------------------


async def test_bytes_sent_again_before_their_review_come_before_it_in_the_log(yard: Yard) -> None:
    """Who has its place in the log has the hash: else the end would come after what it ended, and replay would lose."""
    workspace = await yard.ledger.workspace()
    await yard.upload(workspace, CONTENT)
    await yard.advance(LEASE + MOMENT)
    sender = life(yard, at=AFTER_LOAD)
    uploading = await waiting(sending(sender, workspace), sender)
    assert (await yard.collector()()).reviewed.busy == 1
    sender.points.may_go_on.set()
    await uploading
    await yard.collect()
    assert await yard.readable(SHA256)
    assert await yard.ledger.blobs.find(workspace, SHA256) is not None
    assert await yard.flaws() == []


async def test_bytes_sent_again_during_their_review_come_after_it_in_the_log(yard: Yard, database_url: str) -> None:
    workspace = await yard.ledger.workspace()
    await yard.upload(workspace, CONTENT)
    await yard.advance(LEASE + MOMENT)
    reviewer = life(yard, at=AFTER_LOAD)
    reviewing = await waiting(reviewer.collect(), reviewer)
    uploading = asyncio.ensure_future(sending(life(yard), workspace))
    async with session(database_url) as behind:
        await lock_waiters(behind)
    reviewer.points.may_go_on.set()
    await reviewing
    await uploading
    told = [event.type for event in await yard.ledger.events(workspace) if isinstance(event, HoldingEvent)]
    assert told == [EventType.HOLDING_ACQUIRED, EventType.HOLDING_RELEASED, EventType.HOLDING_ACQUIRED]
    assert await yard.readable(SHA256)
    assert await yard.flaws() == []


async def test_a_request_with_a_key_gets_its_place_in_the_log_when_its_turn_comes(
    yard: Yard, database_url: str
) -> None:
    """Had it written its key before it waited for the entity, the log would tell its change before the one it met."""
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace, CONTENT)
    async with session(database_url) as behind:
        await behind.execute("SELECT pg_advisory_lock($1)", entity_lock(book(workspace)))
        first = asyncio.ensure_future(yard.ledger.change(attach(book(workspace), "pages", sha256)))
        await lock_waiters(behind)
        second = asyncio.ensure_future(yard.ledger.change(attach(book(workspace), "pages", sha256), claim_on("a key")))
        await lock_waiters(behind, 2)
        await behind.execute("SELECT pg_advisory_unlock($1)", entity_lock(book(workspace)))
    await asyncio.gather(first, second)
    told = [event.version for event in await yard.ledger.events(workspace) if isinstance(event, RefEvent)]
    assert told == [1, 2]
    assert await yard.flaws() == []
