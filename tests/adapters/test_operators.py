"""Reasons, quotas and their use on a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.postgres.access import PostgresWorkspaces
from service.adapters.postgres.holds import PostgresHolds
from service.adapters.postgres.reasons import REASONS, PostgresReasons
from service.adapters.postgres.space import PostgresSpace
from service.application.explain_blob import ExplainBlob
from service.application.get_hold import GetHold
from service.application.get_workspace import GetWorkspace
from service.application.place_hold import PlaceHold
from service.application.put_workspace import PutWorkspace
from service.domain.errors import NotFound
from service.domain.hold import HoldKind
from service.domain.hold_decision import PlaceHold as Command
from service.ports.reasons import ReasonKind
from service.ports.space import Drift
from tests.parts.collecting import MOMENT, Yard, opened_yard
from tests.parts.ledgers import ACTOR, LEASE, attach, book, fresh_workspace, new_hash, opened_database, postgres_ledger
from tests.parts.postgres import lock_waiters, session

Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

pytestmark = pytest.mark.anyio


@pytest.fixture
async def yard(database_url: str, tmp_path: Path) -> AsyncIterator[Yard]:
    store = FilesystemStorage(tmp_path)
    await store.aopen()
    async with (
        opened_database(database_url, 8) as database,
        opened_yard(database, store, postgres_ledger(database)) as made,
    ):
        yield made


async def test_the_next_review_is_the_collectors(yard: Yard) -> None:
    explain, workspace = ExplainBlob(PostgresReasons(yard.database)), await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    [reason] = (before := await explain(sha256, workspace)).reasons
    assert reason.kind is ReasonKind.HOLDING
    assert before.next_review == reason.until
    await yard.ledger.attach(attach(book(workspace), "cover", sha256, 0))
    await yard.advance(LEASE + MOMENT)
    await yard.collect()
    after = await explain(sha256, workspace)
    assert [reason.kind for reason in after.reasons] == [ReasonKind.REF, ReasonKind.HOLDING]
    assert after.next_review is None, "nothing but the end of the ref will bring the collector to look"


async def test_a_condemned_blob_has_copies_and_no_reasons(yard: Yard) -> None:
    explain, workspace = ExplainBlob(PostgresReasons(yard.database)), await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    await yard.ledger.blobs.release(workspace, sha256, ACTOR)
    await yard.collect()
    found = await explain(sha256, None)
    assert (found.reasons, found.copies[0].state) == ((), "condemned")
    assert found.copies[0].delete_after is not None
    with pytest.raises(NotFound):
        await explain(sha256, workspace)
    with pytest.raises(NotFound):
        await explain(new_hash(), None)


async def test_of_the_refs_to_a_blob_no_more_are_read_than_told(yard: Yard) -> None:
    async with yard.database.locked(()) as connection:
        await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        plan = [str(row[0]) for row in await connection.fetch(f"EXPLAIN {REASONS}", bytes(32), None)]
    shown, original = [number for number, line in enumerate(plan) if "on refs" in line]
    assert "Index Scan using refs_holding" in plan[shown]
    assert "Index Scan using refs_original" in plan[original]
    assert "Limit" in plan[shown - 1]
    assert "Limit" in plan[original - 1]


async def test_reasons_are_capped(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    outcome = await yard.ledger.attach(attach(book(workspace), "cover", sha256, 0))
    assert outcome.ref is not None
    await yard.database.fetch(
        """INSERT INTO refs (id, workspace_id, entity_type, entity_id, role, state, visibility, blob_id, created_at,
            trashed_at, purge_after)
        SELECT gen_random_uuid(), workspace_id, entity_type, entity_id, role, 'trashed', visibility, blob_id,
            created_at, created_at, created_at FROM refs, generate_series(1, 1200)"""
    )
    found = await ExplainBlob(PostgresReasons(yard.database))(sha256, workspace)
    assert (len(found.reasons), found.complete) == (1000, False)


async def test_the_shares_of_all_workspaces_are_the_bytes_of_all_blobs(yard: Yard) -> None:
    get = GetWorkspace(PostgresWorkspaces(yard.database), PostgresSpace(yard.database))
    slugs = [await yard.ledger.workspace() for _ in range(3)]
    for slug in slugs:
        await yard.upload(slug, b"x" * 900)
    await yard.upload(slugs[0], b"y" * 50)
    uses = [await get(slug, physical=True) for slug in slugs]
    assert [use.physical_bytes for use in uses] == [350, 300, 300]
    assert [use.workspace.used_bytes for use in uses] == [950, 900, 900]
    assert (await get(slugs[0], physical=False)).physical_bytes is None
    with pytest.raises(NotFound):
        await get("there-is-none", physical=True)


async def test_a_wrong_charge_is_drift_and_nothing_else_is(yard: Yard) -> None:
    space, workspace = PostgresSpace(yard.database), await yard.ledger.workspace()
    await yard.upload(workspace, b"z" * 30)
    assert await space.drifted() == []
    await yard.database.fetch("UPDATE workspaces SET used_items = 4 WHERE slug = $1", workspace)
    assert await space.drifted() == [Drift(workspace, 30, 4, 30, 1)]


async def test_nobody_waits_for_a_recount_and_what_comes_meanwhile_is_charged(yard: Yard, database_url: str) -> None:
    space, workspace = PostgresSpace(yard.database), await yard.ledger.workspace()
    await yard.upload(workspace, b"z" * 30)
    await yard.database.fetch("UPDATE workspaces SET used_bytes = 7, used_items = 4 WHERE slug = $1", workspace)
    async with _beside(database_url) as (other, watcher), asyncio.TaskGroup() as tasks, other.transaction():
        await other.execute("LOCK TABLE holdings IN ACCESS EXCLUSIVE MODE")
        recounts = [tasks.create_task(space.recount(workspace)) for _ in range(2)]
        await lock_waiters(watcher, 2)
        await other.execute("SELECT FROM workspaces WHERE slug = $1 FOR UPDATE NOWAIT", workspace)
    assert all(recount.done() for recount in recounts)
    assert await space.drifted() == []
    await yard.upload(workspace, b"y" * 5)
    assert await yard.flaws() == []


async def test_an_upload_that_ends_while_its_workspace_is_recounted_is_charged_once(
    yard: Yard, database_url: str
) -> None:
    space, workspace = PostgresSpace(yard.database), await yard.ledger.workspace()
    other_workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(other_workspace, b"u" * 50)
    await yard.database.fetch("UPDATE workspaces SET used_bytes = 7, used_items = 1 WHERE slug = $1", workspace)
    async with _beside(database_url) as (other, watcher), asyncio.TaskGroup() as tasks, other.transaction():
        await other.execute(_GRANTED_BY_HAND, workspace, bytes.fromhex(sha256))
        tasks.create_task(space.recount(workspace))
        await lock_waiters(watcher)  # with its count, which saw nothing of this transaction
    assert await space.drifted() == []
    found = await yard.ledger.workspaces.find(workspace)
    assert found is not None
    assert (found.used_bytes, found.used_items) == (50, 1)


@asynccontextmanager
async def _beside(dsn: str) -> AsyncIterator[tuple[Session, Session]]:
    async with session(dsn) as other, session(dsn) as watcher:
        yield other, watcher


_GRANTED_BY_HAND = """
WITH held AS (
    INSERT INTO holdings (workspace_id, blob_id, acquired_at, lease_until)
    SELECT w.id, b.id, refkeep_now(), refkeep_now() FROM workspaces w, blobs b WHERE w.slug = $1 AND b.sha256 = $2)
UPDATE workspaces SET used_bytes = used_bytes + 50, used_items = used_items + 1 WHERE slug = $1
"""


async def test_a_quota_is_put_once_and_changed_after_that(yard: Yard) -> None:
    put = PutWorkspace(PostgresWorkspaces(yard.database))
    slug = f"put-{new_hash()[:12]}"
    first, second = fresh_workspace(await put(slug, 100, None)), fresh_workspace(await put(slug, None, 3))
    assert (first.workspace.max_bytes, first.workspace.max_items, first.is_new) == (100, None, True)
    assert (second.workspace.max_bytes, second.workspace.max_items, second.is_new) == (None, 3, False)


async def test_a_hold_is_found_again(yard: Yard) -> None:
    holds, sha256 = PostgresHolds(yard.database), new_hash()
    with pytest.raises(NotFound):
        await GetHold(holds)(sha256)
    await PlaceHold(holds)(Command(sha256, HoldKind.QUARANTINE, "suspect", ACTOR))
    hold = await GetHold(holds)(sha256)
    assert (hold.kind, hold.status, hold.reason, hold.actor) == (HoldKind.QUARANTINE, 404, "suspect", ACTOR.id)
