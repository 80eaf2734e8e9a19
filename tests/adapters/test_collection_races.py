"""Two connections in the orders that would lose something: collectors beside uploads, attaches and each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.adapters.filesystem.storage import FilesystemStorage
from service.application.collect import CLAIM
from service.domain.blob import Sha256
from service.domain.errors import BlobNotHeld, Unavailable
from tests.parts.collecting import MOMENT, QUARANTINE, Yard, opened_yard
from tests.parts.ledgers import (
    ACTOR,
    IMAGE,
    LEASE,
    UPLOAD,
    attach,
    book,
    holding_judge,
    new_hash,
    opened_database,
    postgres_ledger,
)
from tests.parts.postgres import lock_waiters, session

pytestmark = pytest.mark.anyio

OF_WORKSPACE = "SELECT FROM workspaces WHERE slug = $1 FOR UPDATE"
OF_OBJECT = "SELECT FROM objects WHERE sha256 = $1 AND state = 'live' FOR UPDATE"


@pytest.fixture
async def yard(database_url: str, tmp_path: Path) -> AsyncIterator[Yard]:
    store = FilesystemStorage(tmp_path)
    await store.aopen()
    async with (
        opened_database(database_url, 8) as database,
        opened_yard(database, store, postgres_ledger(database)) as made,
    ):
        yield made


@asynccontextmanager
async def row_locked(dsn: str, query: str, *parameters: object) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Somebody holds a row that a transaction needs at its end: it stops there, with all its other locks."""
    async with session(dsn) as behind:
        transaction = behind.transaction()
        await transaction.start()
        await behind.fetch(query, *parameters)
        yield behind
        await transaction.rollback()


def started(work: Any) -> asyncio.Task[Any]:
    return asyncio.ensure_future(work)


async def expired(yard: Yard) -> tuple[str, Sha256]:
    """A workspace with a holding past its lease."""
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    await yard.advance(LEASE + MOMENT)
    return workspace, sha256


async def test_a_review_leaves_a_holding_alone_to_which_a_ref_is_being_attached(yard: Yard, database_url: str) -> None:
    workspace, sha256 = await expired(yard)
    await yard.ledger.attach(attach(book(workspace, 1), "cover", await yard.upload(workspace), 0))
    async with row_locked(database_url, "SELECT FROM entities FOR UPDATE") as behind:
        attaching = started(yard.ledger.attach(attach(book(workspace, 1), "pages", sha256)))
        await lock_waiters(behind)
        collected = await yard.collector()()
        assert (collected.reviewed.busy, collected.reviewed.released.count) == (1, 0)
    await attaching
    await yard.collect()
    assert await yard.readable(sha256)
    assert await yard.flaws() == []


async def test_an_attach_that_waits_for_a_review_finds_no_holding_afterwards(yard: Yard, database_url: str) -> None:
    workspace, sha256 = await expired(yard)
    async with row_locked(database_url, OF_WORKSPACE, workspace) as behind:
        collecting = started(yard.collector()())
        await lock_waiters(behind)
        attaching = started(yard.ledger.attach(attach(book(workspace), "cover", sha256, 0)))
        await lock_waiters(behind, 2)
    assert (await collecting).reviewed.released.count == 1
    with pytest.raises(BlobNotHeld):
        await attaching
    assert await yard.flaws() == []


async def test_a_writer_without_our_locks_is_seen_by_its_row_locks(yard: Yard, database_url: str) -> None:
    """The foreign keys are the guard: what takes no advisory lock is safe as well."""
    workspace, sha256 = await expired(yard)
    async with session(database_url) as rogue:
        transaction = rogue.transaction()
        await transaction.start()
        await rogue.execute("INSERT INTO entities SELECT id, 'book', '1', 1 FROM workspaces WHERE slug = $1", workspace)
        await rogue.execute(
            """INSERT INTO refs (id, workspace_id, entity_type, entity_id, role, position, state, visibility, blob_id,
                created_at)
            SELECT gen_random_uuid(), w.id, 'book', '1', 'cover', 0, 'live', 'public', b.id, refkeep_now()
            FROM workspaces w, blobs b WHERE w.slug = $1""",
            workspace,
        )
        assert (await yard.collector()()).reviewed.busy == 1
        await transaction.commit()
    await yard.collect()
    assert await yard.readable(sha256)
    [row] = await yard.database.fetch("SELECT count(*) FROM refs r JOIN holdings USING (workspace_id, blob_id)")
    assert row["count"] == 1


async def test_a_review_leaves_a_holding_alone_that_is_being_sent_again(yard: Yard, database_url: str) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace, b"sent again")
    await yard.advance(LEASE + MOMENT)
    async with row_locked(database_url, "SELECT FROM holdings FOR UPDATE") as behind:
        sending = started(yard.upload(workspace, b"sent again"))
        await lock_waiters(behind)
        assert (await yard.collector()()).reviewed.busy == 1
    await sending
    await yard.collect()
    assert await yard.readable(sha256)
    assert await yard.ledger.blobs.find(workspace, sha256) is not None
    assert await yard.flaws() == []


async def test_bytes_sent_while_their_blob_is_condemned_get_an_object_of_their_own(
    yard: Yard, database_url: str
) -> None:
    ours, theirs = await yard.ledger.workspace(), await yard.ledger.workspace()
    sha256 = await yard.upload(ours, b"once more")
    old = await yard.key_of(sha256)
    await yard.ledger.blobs.release(ours, sha256, ACTOR)
    async with row_locked(database_url, OF_OBJECT, bytes.fromhex(sha256)) as behind:
        collecting = started(yard.collector()())
        await lock_waiters(behind)
        sending = started(yard.upload(theirs, b"once more"))
        await lock_waiters(behind, 2)
    assert (await collecting).reviewed.condemned.count == 1
    await sending
    new = await yard.key_of(sha256)
    assert new not in {None, old}
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert await yard.readable(sha256)
    assert await yard.flaws() == []


async def test_a_blob_is_not_condemned_while_another_workspace_sends_its_bytes(yard: Yard, database_url: str) -> None:
    ours, theirs = await yard.ledger.workspace(), await yard.ledger.workspace()
    sha256 = await yard.upload(ours, b"taken over")
    await yard.ledger.blobs.release(ours, sha256, ACTOR)
    async with row_locked(database_url, OF_WORKSPACE, theirs) as behind:
        sending = started(yard.upload(theirs, b"taken over"))
        await lock_waiters(behind)
        collected = await yard.collector()()
        assert (collected.reviewed.busy, collected.reviewed.condemned.count) == (1, 0)
    await sending
    await yard.collect()
    assert await yard.readable(sha256)
    assert await yard.flaws() == []


async def test_a_publication_that_has_begun_is_not_swept(yard: Yard, database_url: str) -> None:
    workspace, sha256 = await yard.ledger.workspace(), new_hash()
    reservation = await yard.ledger.objects.reserve(sha256, 10, UPLOAD)
    await yard.advance(UPLOAD + MOMENT)
    async with row_locked(database_url, OF_WORKSPACE, workspace) as behind:
        judge = holding_judge(workspace, sha256)
        publishing = started(yard.ledger.blobs.publish(workspace, reservation, IMAGE, judge))
        await lock_waiters(behind)
        assert (await yard.collector()()).abandoned.count == 0
    await publishing
    assert (await yard.ledger.object_states())[reservation.key] == "live"


async def test_a_swept_upload_cannot_be_published(yard: Yard) -> None:
    workspace, sha256 = await yard.ledger.workspace(), new_hash()
    reservation = await yard.ledger.objects.reserve(sha256, 10, UPLOAD)
    await yard.advance(UPLOAD + MOMENT)
    await yard.collector().collection.condemn_abandoned(10)
    with pytest.raises(Unavailable):
        await yard.ledger.blobs.publish(workspace, reservation, IMAGE, holding_judge(workspace, sha256))
    await yard.collect()
    with pytest.raises(Unavailable):
        await yard.ledger.blobs.publish(workspace, reservation, IMAGE, holding_judge(workspace, sha256))
    assert await yard.flaws() == []


async def test_a_condemned_key_is_never_live_again(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    await yard.ledger.blobs.release(workspace, await yard.upload(workspace), ACTOR)
    await yard.collect()
    for state in ("live", "pending"):
        with pytest.raises(asyncpg.CheckViolationError):
            await yard.database.fetch("UPDATE objects SET state = $1, delete_after = NULL", state)


async def test_two_reapers_never_get_the_same_object_until_a_claim_ends(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    for _ in range(30):
        await yard.ledger.blobs.release(workspace, await yard.upload(workspace), ACTOR)
    await yard.collect()
    await yard.advance(QUARANTINE + MOMENT)
    collection = yard.collector().collection
    claims = await asyncio.gather(*(collection.claim(10, CLAIM) for _ in range(6)))
    keys = [condemned.key for claim in claims for condemned in claim]
    assert len(keys) == len(set(keys)) <= 30
    await yard.advance(CLAIM + MOMENT)
    assert len(await collection.claim(100, CLAIM)) == 30, "who claimed them died"


async def test_a_reaper_that_dies_after_the_removal_leaves_a_row_for_the_next(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    await yard.ledger.blobs.release(workspace, await yard.upload(workspace), ACTOR)
    await yard.collect()
    await yard.advance(QUARANTINE + MOMENT)
    [claimed] = await yard.collector().collection.claim(10, CLAIM)
    await yard.store.delete(claimed.key)
    await yard.advance(CLAIM + MOMENT)
    await yard.collect()
    assert await yard.leftovers() == []


async def test_the_log_tells_an_end_before_what_came_after_it(yard: Yard) -> None:
    """Acquired, released, acquired: the order of the log is that of the locks, so that replay is right."""
    workspace = await yard.ledger.workspace()
    for _ in range(3):
        await yard.upload(workspace, b"to and fro")
        await yard.advance(LEASE + MOMENT)
        await asyncio.gather(*(yard.collector()() for _ in range(3)), yard.upload(workspace, b"to and fro"))
        assert await yard.flaws() == []
