"""Collection on a real Postgres and real stores, with the clock moved: what goes, what stays, what is said of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import cast

import anyio
import pytest

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.memory.storage import MemoryStorage
from service.adapters.postgres.plan import PLAN
from service.adapters.postgres.space import PostgresSpace
from service.application.collect import CLAIM
from service.domain.errors import NotFound, StorageUnavailable, WrongStore
from service.domain.event import EventType, HoldingEvent
from service.ports.storage import StagedObject, Storage
from tests.parts.blobs import keys
from tests.parts.collecting import MOMENT, QUARANTINE, Store, Yard, opened_yard
from tests.parts.ledgers import (
    ACTOR,
    LEASE,
    TRASH,
    UPLOAD,
    attach,
    book,
    claim_on,
    hash_of,
    new_hash,
    opened_database,
    postgres_ledger,
    release,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def yard(database_url: str, store: Store) -> AsyncIterator[Yard]:
    async with (
        opened_database(database_url, 8) as database,
        opened_yard(database, store, postgres_ledger(database)) as made,
    ):
        yield made


async def test_a_blob_without_a_reason_is_gone_from_database_and_store(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    await yard.upload(workspace)
    await yard.advance(LEASE + MOMENT)
    await yard.collect()
    assert await yard.flaws() == []
    assert len(await keys(yard.store)) == 1, "the quarantine is not over"
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert await keys(yard.store) == []
    assert await yard.leftovers() == []
    assert await yard.flaws() == []


async def test_trash_that_is_due_ends_and_its_bytes_go_after_it(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    await yard.ledger.attach(attach(book(workspace), "cover", sha256))
    await yard.ledger.change(release(book(workspace), "cover", 0))
    await yard.advance(LEASE + MOMENT)
    await yard.collect()
    assert await yard.ledger.blobs.find(workspace, sha256) is not None, "the trash keeps it"
    await yard.advance(TRASH + MOMENT)
    assert sum(collected.purged for collected in await yard.collect()) == 1
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert await keys(yard.store) == []
    assert await yard.leftovers() == []
    assert await yard.flaws() == []


async def test_an_upload_is_readable_until_its_lease_ends_however_often_is_collected(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    for _ in range(6):
        await yard.collect()
        assert await yard.readable(sha256)
        assert await yard.ledger.blobs.find(workspace, sha256) is not None
        await yard.advance(LEASE / 7)
    await yard.collect()
    assert await yard.readable(sha256)


async def test_a_renewed_lease_counts_from_its_renewal(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace, b"renewed")
    await yard.advance(LEASE / 2)
    await yard.upload(workspace, b"renewed")
    await yard.advance(LEASE / 2 + MOMENT)
    await yard.collect()
    assert await yard.readable(sha256)
    await yard.advance(LEASE / 2 + MOMENT)
    await yard.collect()
    assert not await yard.readable(sha256)
    assert await yard.flaws() == []


async def test_what_a_ref_needs_stays_for_ever(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    await yard.ledger.attach(attach(book(workspace), "cover", sha256, 0))
    await yard.advance(timedelta(days=3650))
    await yard.collect()
    assert await yard.readable(sha256)
    assert await yard.flaws() == []


async def test_a_workspace_that_is_charged_too_little_keeps_nobody_elses_garbage(yard: Yard) -> None:
    theirs, ours = await yard.ledger.workspace(), await yard.ledger.workspace()
    await yard.upload(theirs)
    for _ in range(3):
        await yard.upload(ours)
    await yard.database.fetch("UPDATE workspaces SET used_bytes = 0, used_items = 0 WHERE slug = $1", theirs)
    await yard.advance(LEASE + MOMENT)
    await yard.collect()
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert len(await keys(yard.store)) == 1, "only what cannot be released is left"
    await PostgresSpace(yard.database).recount(theirs)
    await yard.advance(timedelta(hours=1))
    await yard.collect()
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert await keys(yard.store) == []
    assert await yard.leftovers() == []
    assert await yard.flaws() == []


async def test_what_one_workspace_needs_stays_when_another_lets_go(yard: Yard) -> None:
    ours, theirs = await yard.ledger.workspace(), await yard.ledger.workspace()
    sha256 = await yard.upload(ours, b"shared")
    await yard.upload(theirs, b"shared")
    await yard.ledger.attach(attach(book(theirs), "cover", sha256, 0))
    await yard.advance(LEASE + QUARANTINE + MOMENT)
    await yard.collect()
    assert await yard.readable(sha256)
    assert await yard.ledger.blobs.find(ours, sha256) is None
    assert await yard.ledger.blobs.find(theirs, sha256) is not None
    assert await yard.flaws() == []


async def test_the_end_of_a_holding_is_an_event_and_frees_its_quota(yard: Yard) -> None:
    workspace = await yard.ledger.workspace(max_items=1)
    sha256 = await yard.upload(workspace, b"x" * 100)
    await yard.advance(LEASE + MOMENT)
    await yard.collect()
    found = await yard.ledger.workspaces.find(workspace)
    assert found is not None
    assert (found.used_bytes, found.used_items) == (0, 0)
    last = (await yard.ledger.events(workspace))[-1]
    assert isinstance(last, HoldingEvent)
    assert (last.type, last.actor.id, last.holding.sha256) == (EventType.HOLDING_RELEASED, "gc", sha256)
    await yard.upload(workspace)


async def test_a_holding_that_was_given_up_goes_at_once(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    await yard.ledger.blobs.release(workspace, sha256, ACTOR)
    await yard.collect()
    assert await yard.key_of(sha256) is None
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert await keys(yard.store) == []


async def test_bytes_that_come_again_after_their_end_get_a_key_of_their_own(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace, b"again")
    first = await yard.key_of(sha256)
    await yard.ledger.blobs.release(workspace, sha256, ACTOR)
    await yard.collect()
    await yard.upload(workspace, b"again")
    second = await yard.key_of(sha256)
    assert first != second
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert await keys(yard.store) == [second]
    assert await yard.readable(sha256)
    assert await yard.flaws() == []


async def test_an_upload_that_never_ended_goes_with_its_lease(yard: Yard) -> None:
    reservation = await yard.ledger.objects.reserve(hash_of("abc"), 3, UPLOAD)
    staged = await yard.store.stage()
    await staged.write(b"abc")
    await staged.commit(reservation.key)
    await yard.collect()
    assert await keys(yard.store) == [reservation.key]
    await yard.advance(UPLOAD + MOMENT)
    await yard.collect()
    assert await keys(yard.store) == []
    assert await yard.leftovers() == []


async def test_many_collectors_at_once_collect_everything_once(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    kept = [await yard.upload(workspace) for _ in range(5)]
    for number, sha256 in enumerate(kept):
        await yard.ledger.attach(attach(book(workspace, number), "cover", sha256, 0))
    lost = [await yard.upload(workspace) for _ in range(40)]
    for wait in (LEASE + MOMENT, QUARANTINE + MOMENT):
        await yard.advance(wait)
        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(yard.collector())
    await yard.collect()
    released = [event for event in await yard.ledger.events(workspace) if event.type is EventType.HOLDING_RELEASED]
    assert len(released) == len(lost)
    assert all([await yard.readable(sha256) for sha256 in kept])
    assert await yard.leftovers() == []
    assert await yard.flaws() == []


# --- the right store --------------------------------------------------------------------------------------------------


async def test_nothing_is_collected_from_a_store_without_the_sentinel(yard: Yard, tmp_path: Path) -> None:
    workspace = await yard.ledger.workspace()
    await yard.collect()
    sha256 = await yard.upload(workspace)
    await yard.advance(LEASE + MOMENT)
    other = FilesystemStorage(tmp_path / "not mounted")
    await other.aopen()
    right, yard.store = yard.store, other
    with pytest.raises(WrongStore, match="no sentinel"):
        await yard.collect()
    yard.store = right
    assert await yard.readable(sha256)


async def test_nothing_is_collected_from_the_store_of_another_database(yard: Yard) -> None:
    await yard.store.write_note("sentinel", b"somebody else's")
    with pytest.raises(WrongStore, match="another database"):
        await yard.collect()


async def test_two_first_starts_at_once_agree_on_the_sentinel(yard: Yard) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(yard.collector().guard)
    [row] = await yard.database.fetch("SELECT id, placed_at FROM sentinel")
    assert await yard.store.read_note("sentinel") == str(row["id"]).encode()
    assert row["placed_at"] is not None


async def test_a_sentinel_that_was_written_before_a_crash_is_known_again(yard: Yard) -> None:
    await yard.collect()
    await yard.database.fetch("UPDATE sentinel SET placed_at = NULL")
    await yard.collect()
    [row] = await yard.database.fetch("SELECT placed_at FROM sentinel")
    assert row["placed_at"] is not None


# --- stores that fail -------------------------------------------------------------------------------------------------


class Refusing(MemoryStorage):
    """A store that removes nothing, or says so after it did."""

    def __init__(self, store: Store, *, lands: bool) -> None:
        self._store, self._lands = store, lands

    async def stage(self) -> StagedObject:  # type: ignore[override]
        return await self._store.stage()

    async def delete(self, key: str) -> None:
        if self._lands:
            await self._store.delete(key)
        raise StorageUnavailable("The store does not answer.")


@pytest.mark.parametrize("lands", [True, False])
async def test_a_row_outlives_bytes_whose_removal_is_not_certain(yard: Yard, lands: bool) -> None:
    workspace = await yard.ledger.workspace()
    for _ in range(20):
        await yard.ledger.blobs.release(workspace, await yard.upload(workspace), ACTOR)
    await yard.collect()
    await yard.advance(QUARANTINE + MOMENT)
    with pytest.raises(StorageUnavailable):
        await yard.collector(Refusing(yard.store, lands=lands))()
    assert len(await yard.ledger.object_states()) == 20
    assert await yard.flaws() == []
    await yard.advance(CLAIM + MOMENT)
    await yard.collect()
    assert await yard.leftovers() == []


class Stuck(Refusing):
    """A store that removes everything but one object."""

    def __init__(self, store: Store, stuck: str) -> None:
        super().__init__(store, lands=False)
        self._stuck = stuck

    async def delete(self, key: str) -> None:
        if key == self._stuck:
            await super().delete(key)
        await self._store.delete(key)


async def test_one_object_that_cannot_go_does_not_keep_the_others(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    for _ in range(20):
        await yard.ledger.blobs.release(workspace, await yard.upload(workspace), ACTOR)
    await yard.collect()
    await yard.advance(QUARANTINE + MOMENT)
    stuck = (await keys(yard.store))[0]
    with pytest.raises(StorageUnavailable):
        await yard.collector(Stuck(yard.store, stuck))()
    assert await keys(yard.store) == [stuck] == [*await yard.ledger.object_states()]
    await yard.advance(CLAIM + MOMENT)
    await yard.collect()
    assert await yard.leftovers() == []


# --- what was only needed for a while ---------------------------------------------------------------------------------


_OURS = "SELECT delete_after > refkeep_now() AS ours FROM objects WHERE key = $1"


@dataclass
class Slow:
    """A store that takes a second more for each removal, by the database's clock and the collector's."""

    yard: Yard
    seconds: int = 0
    late: list[str] = field(default_factory=list)
    one_by_one: anyio.Lock = field(default_factory=anyio.Lock)

    async def delete(self, key: str) -> None:
        async with self.one_by_one:
            self.seconds += 1
            await self.yard.advance(MOMENT)
            [row] = await self.yard.database.fetch(_OURS, key)
            self.late += [] if row["ours"] else [key]
            await self.yard.store.delete(key)

    def clock(self) -> float:
        return time.monotonic() + self.seconds


async def test_no_bytes_are_removed_on_a_claim_that_has_ended(yard: Yard) -> None:
    """However slow the store is: what there was no time for goes in a later round."""
    workspace = await yard.ledger.workspace()
    for _ in range(40):
        await yard.upload(workspace)
    await yard.advance(LEASE + MOMENT)
    await yard.collect()
    await yard.advance(QUARANTINE + MOMENT)
    slow = Slow(yard)
    collect = yard.collector(cast(Storage, slow), slow.clock)
    first = await collect()
    assert 0 < first.deleted.count < 40
    assert len(await keys(yard.store)) == 40 - first.deleted.count
    await yard.advance(CLAIM + MOMENT)
    assert (await collect()).deleted.count == 40 - first.deleted.count
    assert slow.late == []
    assert await yard.leftovers() == []
    assert await yard.flaws() == []


async def test_a_removal_that_never_ends_is_given_up_with_its_claim(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    await yard.ledger.blobs.release(workspace, sha256, ACTOR)
    await yard.collect()
    await yard.advance(QUARANTINE + MOMENT)

    class Stuck:
        ended = False

        async def delete(self, _: str) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                self.ended = True

    stuck, ticks = Stuck(), iter([0.0, 19.95])
    with pytest.raises(StorageUnavailable, match="too long"):
        await yard.collector(cast(Storage, stuck), lambda: next(ticks))()
    assert stuck.ended
    assert len(await keys(yard.store)) == 1
    await yard.advance(CLAIM + MOMENT)
    await yard.collect()
    assert await yard.leftovers() == []


async def test_stored_answers_and_old_refusals_are_swept(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    await yard.ledger.change(attach(book(workspace), "cover", sha256, 0), claim_on("a key"))
    with pytest.raises(Exception, match="holds 1 of 1"):
        await yard.ledger.change(attach(book(workspace), "cover", sha256, None))
    await yard.advance(timedelta(days=6))
    await yard.collect()
    counts = "SELECT (SELECT count(*) FROM idempotency) AS answers, (SELECT count(*) FROM rejections) AS refusals"
    [row] = await yard.database.fetch(counts)
    assert tuple(row) == (1, 0)
    await yard.advance(timedelta(days=1) + MOMENT)
    [swept] = [collected.swept for collected in (await yard.collect())[:1]]
    [row] = await yard.database.fetch(counts)
    assert (tuple(row), swept) == ((0, 0), 1)


async def test_the_plan_says_what_a_run_does(yard: Yard) -> None:
    collection = yard.collector().collection
    workspace = await yard.ledger.workspace()
    for size in (100, 200):
        await yard.upload(workspace, b"x" * size)
    kept = await yard.upload(workspace, b"x" * 1000)
    await yard.ledger.attach(attach(book(workspace), "cover", kept, 0))
    await yard.ledger.objects.reserve(new_hash(), 7, UPLOAD)
    await yard.advance(LEASE + MOMENT)
    plan = await yard.collector().plan()
    assert (plan.release.count, plan.release.bytes) == (2, 300)
    assert (plan.condemn.count, plan.condemn.bytes) == (2, 300)
    assert (plan.delete.count, plan.delete.bytes) == (1, 7)
    assert (plan.objects.count, plan.percent) == (4, 75.0)
    before = await collection.backlog()
    assert (before.reviews, before.uploads, before.condemned) == (3, 1, 0)
    [done, *_] = await yard.collect()
    assert (done.reviewed.released, done.reviewed.condemned) == (plan.release, plan.condemn)
    assert done.deleted == plan.delete
    plan = await yard.collector().plan()
    assert (plan.release.count, plan.condemn.count, plan.delete.count, plan.waiting.count) == (0, 0, 0, 2)
    after = await collection.backlog()
    assert (after.reviews, after.uploads, after.condemned, after.oldest) == (0, 0, 0, None)


async def test_the_plan_counts_what_the_end_of_the_trash_lets_go(yard: Yard) -> None:
    workspace, other = await yard.ledger.workspace(), await yard.ledger.workspace()
    shown = await yard.upload(workspace, b"x" * 100)
    kept = await yard.upload(workspace, b"y" * 1000)
    await yard.upload(other, b"y" * 1000)
    for number, sha256 in enumerate((shown, shown, kept)):
        await yard.ledger.attach(attach(book(workspace, number), "cover", sha256, 0))
    for number in range(2):
        await yard.ledger.change(release(book(workspace, number), "cover", 0))
    await yard.advance(TRASH + MOMENT)
    plan = await yard.collector().plan()
    assert (plan.purge.count, plan.purge.bytes) == (2, 200)
    assert (plan.release.count, plan.release.bytes) == (2, 1100)
    assert (plan.condemn.count, plan.condemn.bytes, plan.percent) == (1, 100, 50.0)
    [done, *_] = await yard.collect()
    assert (done.purged, done.reviewed.released, done.reviewed.condemned) == (2, plan.release, plan.condemn)


async def test_a_plan_does_not_look_through_all_holdings_for_each_blob(yard: Yard) -> None:
    lines = [str(row[0]) for row in await yard.database.fetch(f"EXPLAIN {PLAN}", ["0" * 16], QUARANTINE)]
    assert any("Anti Join" in line for line in lines)
    assert not [line for line in lines if "Filter:" in line and "SubPlan" in line]


async def test_a_workspace_can_let_go_only_once(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    sha256 = await yard.upload(workspace)
    await yard.advance(LEASE + MOMENT)
    await yard.collect()
    with pytest.raises(NotFound):
        await yard.ledger.blobs.release(workspace, sha256, ACTOR)
