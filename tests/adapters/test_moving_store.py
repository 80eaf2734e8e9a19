"""A store moves while everything runs: whatever happens meanwhile, nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.postgres.moves import moving_alone, pulse_name
from service.application.copy_objects import Pass
from service.application.findings import Kind
from service.application.guard_store import FENCE, NOTE
from service.application.move_store import Wish
from service.application.throttle import Throttle
from service.domain.blob import Sha256
from service.domain.errors import (
    BehindFence,
    MoveRefused,
    ObjectMissing,
    StorageUnavailable,
    Unavailable,
    WrongStore,
)
from service.domain.health import Health
from service.ports.moves import Stores
from tests.parts.blobs import get, key_for, keys
from tests.parts.buckets import emptied_bucket, opened
from tests.parts.collecting import MOMENT, QUARANTINE, Yard, opened_yard
from tests.parts.darkroom import CARD, THUMB
from tests.parts.ledgers import ACTOR, UPLOAD, new_hash, opened_database, postgres_ledger
from tests.parts.moving import NEW, OLD, THIRD, Crowd, Died, Life, Meddled, Mortal, Move, Replica, opened_move
from tests.parts.postgres import lock_waiters, session
from tests.parts.repairing import AT_ONCE, Workshop

pytestmark = pytest.mark.anyio

FINISH = Wish(finish=True)
LATE = b"sent while everything moves"


@pytest.fixture
async def yard(database_url: str, tmp_path: Path) -> AsyncIterator[Yard]:
    """A database and a folder."""
    store = FilesystemStorage(tmp_path / "old")
    await store.aopen()
    async with (
        opened_database(database_url, 8) as database,
        opened_yard(database, store, postgres_ledger(database)) as made,
    ):
        yield made


@pytest.fixture
async def move(yard: Yard, tmp_path: Path) -> AsyncIterator[Move]:
    """From one folder to another."""
    new = FilesystemStorage(tmp_path / "new")
    await new.aopen()
    async with opened_move(yard, new) as made:
        yield made


async def filled(move: Move, count: int = 6) -> tuple[str, list[Sha256]]:
    """A workspace with blobs in the old store, which shows whose it is."""
    await move.yard.collector()()
    workspace = await move.yard.ledger.workspace()
    return workspace, [await move.yard.upload(workspace) for _ in range(count)]


async def gone(move: Move, workspace: str, sha256: Sha256) -> None:
    """Give the blob up, and let collectors that have the old store alone bring it to its end."""
    await move.yard.ledger.blobs.release(workspace, sha256, ACTOR)
    await move.yard.collector()()
    await move.yard.database.fetch("UPDATE objects SET delete_after = refkeep_now() WHERE state = 'condemned'")
    await move.yard.collector()()


async def key_of(move: Move, sha256: Sha256) -> str:
    key = await move.yard.key_of(sha256)
    assert key is not None
    return key


def hashing_to(digit: str) -> bytes:
    """Bytes whose name begins with this digit."""
    contents = (f"{number} for {digit}".encode() for number in count())
    return next(each for each in contents if hashlib.sha256(each).hexdigest().startswith(digit))


def overwrite(move: Move, key: str, content: bytes, *, at: str = OLD) -> None:
    """What a failing disk does."""
    (move.stores[at]._objects / key).write_bytes(content)


def flipped(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


# --- the way it goes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["folder to bucket", "bucket to folder"])
async def test_all_bytes_come_over_while_replicas_of_both_stores_write(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path, way: str
) -> None:
    folder = FilesystemStorage(tmp_path / "folder")
    await folder.aopen()
    async with (
        opened(await emptied_bucket(request.getfixturevalue("seaweed")), tmp_path / "spool") as bucket,
        opened_database(database_url, 8) as database,
    ):
        old, new = (folder, bucket) if way == "folder to bucket" else (bucket, folder)
        async with opened_yard(database, old, postgres_ledger(database)) as yard, opened_move(yard, new) as move:
            workspace, _ = await filled(move)
            before = move.replica(OLD)
            first = await move.seen()
            assert (first.objects, first.copied.count, first.there) == (6, 6, 0)
            after = move.replica(NEW)
            assert await after.read(await before.upload(workspace, b"by one of old")) == b"by one of old"
            assert await before.read(await after.upload(workspace, b"by a new one")) == b"by a new one"
            left = set(await keys(old))
            done = await move.run(FINISH)
            assert (done.finished, done.seen.objects, done.seen.copied.count, done.seen.there) == (True, 8, 1, 7)
            assert await move.flaws() == []
            assert set(await keys(old)) == left, "nothing is ever removed from the old store"
            rounds = await after.collector(new)()
            assert rounds.steps == 0
            assert (await Workshop(Yard(database, new, yard.ledger), tmp_path).fsck(AT_ONCE)).is_well


async def test_clients_and_collectors_notice_nothing_of_runs_that_are_killed(
    request: pytest.FixtureRequest, yard: Yard, tmp_path: Path
) -> None:
    """Three dozen blobs to a bucket; `make e2e` does the same with 5,000, and with processes."""
    async with (
        opened(await emptied_bucket(request.getfixturevalue("seaweed")), tmp_path / "spool") as bucket,
        opened_move(yard, bucket) as move,
    ):
        workspace, hashes = await filled(move, 36)
        old, new = move.replica(OLD), move.replica(NEW)
        crowd = Crowd(move, workspace, [old], set(hashes))
        async with crowd.working():
            for ends_at in (9, 25):
                parts = [Mortal(part, life) for life in [Life(ends_at)] for part in (move.old, bucket, move.ledger())]
                with pytest.raises(Died):
                    await move.run(Wish(), parts[0], parts[1], ledger=parts[2])
            await crowd.goes_on()
            await move.run()
            crowd.replicas = [old, new]
            await crowd.goes_on()
            crowd.replicas = [new]
            await crowd.goes_on()
            done = await move.run(FINISH)
            assert (done.finished, done.seen.findings) == (True, [])
            await crowd.goes_on()
        assert crowd.failures == []
        assert await move.flaws() == []
        assert [await new.read(sha256) for sha256 in crowd.known]


async def test_a_dry_run_counts_and_changes_nothing(move: Move) -> None:
    _, hashes = await filled(move)
    before = await move.ledger().stores()
    seen = await move.seen(Wish(dry_run=True))
    assert (seen.objects, seen.copied.count, seen.there) == (6, 6, 0)
    assert seen.copied.bytes == sum([len(await get(move.old, await key_of(move, each))) for each in hashes])
    assert (await keys(move.new), await move.new.read_note(NOTE)) == ([], None)
    assert await move.ledger().stores() == before == Stores(0, before.sentinel, placed=True)
    await move.seen()
    seen = await move.seen(Wish(dry_run=True))
    assert (seen.objects, seen.copied.count, seen.there) == (6, 0, 6)


async def test_what_waits_for_its_end_comes_along_and_what_was_never_published_does_not(move: Move) -> None:
    """Condemned bytes are what a database that is restored may need."""
    workspace, hashes = await filled(move)
    await move.yard.ledger.blobs.release(workspace, hashes[0], ACTOR)
    await move.yard.collect()
    await move.yard.ledger.objects.reserve(new_hash(), 7, UPLOAD)
    done = await move.run(FINISH)
    assert (done.finished, done.seen.copied.count) == (True, 6)
    assert await move.flaws() == []


async def test_a_collector_beside_the_move_removes_from_both_stores(move: Move) -> None:
    workspace, hashes = await filled(move)
    await move.seen()
    replica = move.replica(NEW)
    await move.yard.ledger.blobs.release(workspace, hashes[0], ACTOR)
    await replica.collector(move.new)()
    await move.yard.advance(QUARANTINE + MOMENT)
    assert (await replica.collector(move.new)()).deleted.count == 1
    assert not {key for key in [*await keys(move.old), *await keys(move.new)] if hashes[0] in key}
    assert (await move.run(FINISH)).finished
    assert await move.flaws() == []


async def test_the_first_run_places_the_sentinel_where_no_collector_has(move: Move) -> None:
    workspace = await move.yard.ledger.workspace()
    await move.yard.upload(workspace)
    assert (await move.run(FINISH)).finished
    assert await move.new.read_note(NOTE) == (await move.ledger().stores()).sentinel.encode()


async def test_after_the_end_the_fence_of_the_new_store_is_that_of_the_old_one_or_above(move: Move) -> None:
    await filled(move)
    assert (await move.run(FINISH)).finished
    assert int(await move.new.read_note(FENCE)) > int(await move.old.read_note(FENCE))


# --- killed, and given again ------------------------------------------------------------------------------------------


async def test_a_run_that_is_killed_at_any_step_is_continued_by_the_next_one(move: Move, tmp_path: Path) -> None:
    """Before and after each change in turn: one run dies there, the next one dies two steps on, the third one ends."""
    await filled(move, 2)
    ends_at, reached = 0, True
    while reached:
        ends_at += 1
        await _begin_anew(move, tmp_path / f"new {ends_at}")
        lives = Life(ends_at), Life(ends_at + 2)
        for life in lives:
            parts = [Mortal(part, life) for part in (move.old, move.new, move.ledger())]
            with contextlib.suppress(Died):
                await move.run(FINISH, parts[0], parts[1], ledger=parts[2], jobs=1)
            if (await move.ledger().stores()).epoch and (await move.ledger().stores()).move is None:
                break
        else:
            assert (await move.run(FINISH)).finished
        assert (await move.flaws(), await keys(move.new)) == ([], await keys(move.old)), f"killed at step {ends_at}"
        reached = lives[0].steps >= ends_at
    assert ends_at > 20


async def _begin_anew(move: Move, folder: Path) -> None:
    """The old store as it was, and an empty new one."""
    await move.yard.database.fetch("TRUNCATE store_moves")
    await move.yard.database.fetch("UPDATE sentinel SET store_epoch = 0")
    sentinel = (await move.ledger().stores()).sentinel
    await move.old.write_note(NOTE, sentinel.encode())
    move.stores[NEW] = FilesystemStorage(folder)
    await move.new.aopen()


async def test_copies_that_were_under_way_are_read_back_by_the_next_run_and_no_others(move: Move) -> None:
    await filled(move, 4)
    committed: list[str] = []

    async def die(key: str) -> None:
        committed.append(key)
        raise StorageUnavailable("The process is gone.")

    with pytest.raises(StorageUnavailable):
        await move.run(target=Meddled(move.new, committed=die), jobs=1)
    again = await move.seen()
    assert (len(committed), again.read_back, again.copied.count, again.there) == (1, 1, 3, 0)
    third = await move.seen()
    assert (third.read_back, third.copied.count, third.there) == (0, 0, 4)


async def test_a_copy_that_reads_wrong_is_named_and_keeps_the_move_from_its_end(move: Move) -> None:
    await filled(move, 4)
    spoiled: list[str] = []

    async def spoil(key: str) -> None:
        if not spoiled:
            spoiled.append(key)
            overwrite(move, key, flipped(await get(move.old, key)), at=NEW)

    done = await move.run(FINISH, target=Meddled(move.new, committed=spoil))
    assert ([(each.kind, each.key) for each in done.seen.findings], done.finished) == (
        [(Kind.FOREIGN, spoiled[0])],
        False,
    )
    overwrite(move, spoiled[0], b"too short", at=NEW)
    done = await move.run(FINISH)
    assert ([each.kind for each in done.seen.findings], done.finished) == ([Kind.FOREIGN], False)
    await move.new.delete(spoiled[0])
    assert (await move.run(FINISH)).finished
    assert await move.flaws() == []


# --- beside the collector ---------------------------------------------------------------------------------------------


async def test_an_object_that_is_collected_while_it_is_copied_leaves_no_copy(move: Move) -> None:
    workspace, hashes = await filled(move, 3)
    key = await key_of(move, hashes[0])

    async def collect(opened: str) -> None:
        if opened == key:
            await gone(move, workspace, hashes[0])

    seen = await move.seen(source=Meddled(move.old, opened=collect))
    assert (seen.vanished, seen.copied.count) == (1, 2)
    assert key not in await keys(move.new)
    assert (await move.run(FINISH)).finished
    assert await move.flaws() == []


async def test_an_object_that_went_before_it_could_be_read_is_no_loss(move: Move) -> None:
    workspace, hashes = await filled(move, 3)

    async def collect(_: str) -> None:
        for sha256 in hashes:
            if await move.yard.key_of(sha256) is not None and sha256 not in _:
                await gone(move, workspace, sha256)

    seen = await move.seen(source=Meddled(move.old, opened=collect), jobs=1)
    assert (seen.copied.count, seen.vanished, seen.findings) == (1, 2, [])
    assert await move.yard.flaws() == []


async def test_a_condemned_object_whose_copy_the_collector_was_faster_to_remove_is_no_fault(move: Move) -> None:
    workspace, hashes = await filled(move, 2)
    replica = move.replica(OLD)

    async def condemn(key: str) -> None:
        if hashes[0] in key:
            await move.yard.ledger.blobs.release(workspace, hashes[0], ACTOR)
            await move.yard.collect()
            await replica.storage.delete(key)

    seen = await move.seen(target=Meddled(move.new, committed=condemn))
    assert (seen.vanished, seen.copied.count) == (1, 1)


async def test_a_new_store_that_loses_what_it_took_ends_the_run(move: Move) -> None:
    await filled(move, 2)
    with pytest.raises(StorageUnavailable, match="just taken"):
        await move.run(target=Meddled(move.new, committed=move.new.delete))


# --- replicas with other settings -------------------------------------------------------------------------------------


async def test_an_upload_that_lands_in_the_old_store_after_the_last_pass_is_refused(move: Move) -> None:
    workspace, _ = await filled(move, 2)
    late = move.replica(OLD)

    async def finish(_: str) -> None:
        assert (await move.run(FINISH)).finished

    with pytest.raises(StorageUnavailable, match="no longer"):
        await late.upload(workspace, LATE, Meddled(late.storage, committed=finish))
    assert await move.yard.key_of(Sha256(hashlib.sha256(LATE).hexdigest())) is None
    await move.replica(NEW).upload(workspace, LATE)
    assert await move.flaws() == []


async def test_a_rendition_comes_over_and_one_that_lands_too_late_is_made_anew(move: Move) -> None:
    _, [parent, _] = await filled(move, 2)
    early, late = move.replica(OLD), move.replica(OLD)
    made = await early.render(parent, THUMB)

    async def finish(_: str) -> None:
        assert (await move.run(FINISH)).finished

    with pytest.raises(StorageUnavailable, match="no longer"):
        await late.render(parent, CARD, Meddled(late.storage, committed=finish))
    assert hashlib.sha256(await get(move.new, await key_of(move, made))).hexdigest() == made
    again = await move.replica(NEW).render(parent, CARD)
    assert hashlib.sha256(await get(move.new, await key_of(move, again))).hexdigest() == again
    assert await move.flaws() == []


async def test_a_rendition_is_made_of_a_parent_that_the_other_store_has(move: Move) -> None:
    workspace, _ = await filled(move, 1)
    await move.run()
    parent = await move.replica(OLD).upload(workspace, LATE)
    made = await move.replica(NEW).render(parent, THUMB)
    assert await key_of(move, made) in await keys(move.new)
    assert await key_of(move, parent) not in await keys(move.new)
    assert (await move.run(FINISH)).finished
    assert await move.flaws() == []


async def test_a_publication_under_way_is_waited_for_and_its_bytes_come_along(move: Move, database_url: str) -> None:
    workspace, _ = await filled(move, 2)
    await move.seen()
    replica = move.replica(OLD)
    async with session(database_url) as connection:
        await connection.execute("BEGIN; SELECT FROM workspaces FOR UPDATE")  # which the end of a publication waits for
        uploading = asyncio.ensure_future(replica.upload(workspace, LATE))
        await lock_waiters(connection, 1)
        finishing = asyncio.ensure_future(move.run(FINISH))
        await lock_waiters(connection, 2)
        await connection.execute("ROLLBACK")
        done, sha256 = await asyncio.gather(finishing, uploading)
    assert (done.finished, done.seen.copied.count) == (True, 1)
    assert await move.flaws() == []
    assert await get(move.new, await key_of(move, sha256)) == LATE


async def test_a_publication_that_waits_for_the_closing_sees_it_closed(move: Move, database_url: str) -> None:
    workspace, _ = await filled(move, 2)
    await move.seen()
    replica = move.replica(OLD)
    await replica.upload(workspace, b"the first one makes ready what the second one asks")
    async with session(database_url) as connection:
        await connection.execute("BEGIN; LOCK TABLE objects IN EXCLUSIVE MODE")
        await connection.execute("UPDATE store_moves SET closed_at = refkeep_now()")
        await connection.execute("UPDATE sentinel SET store_epoch = store_epoch + 1")
        await move.old.write_note(NOTE, b"0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b")
        reservation = await _reserved(move, connection)
        publishing = asyncio.ensure_future(_publish(move, replica, workspace, reservation))
        await lock_waiters(connection)
        await connection.execute("COMMIT")
        with pytest.raises(StorageUnavailable, match="no longer"):
            await publishing


async def _reserved(move: Move, connection: Any) -> Any:
    """A row that whoever holds the table has made, since nobody else can."""
    from service.ports.objects import Reservation  # noqa: PLC0415

    sha256 = Sha256(hashlib.sha256(LATE).hexdigest())
    key = key_for(sha256)
    query = "INSERT INTO objects (key, sha256, size, lease_until) VALUES ($1, $2, $3, refkeep_now()) RETURNING id"
    return Reservation(await connection.fetchval(query, key, bytes.fromhex(sha256), len(LATE)), key, sha256, len(LATE))


async def _publish(move: Move, replica: Replica, workspace: str, reservation: Any) -> None:
    from service.adapters.postgres.blobs import PostgresBlobs  # noqa: PLC0415
    from service.domain.blob import MediaInfo  # noqa: PLC0415
    from service.domain.holding_decision import decide_arrival  # noqa: PLC0415

    blobs = PostgresBlobs(move.yard.database, replica.standing)

    def judge(state: Any) -> Any:
        return decide_arrival(state, workspace, reservation.sha256, reservation.size, UPLOAD, ACTOR)

    await blobs.publish(workspace, reservation, MediaInfo("text/plain"), judge)


async def test_closing_waits_for_a_busy_table_and_gives_up_with_a_sentence(
    move: Move, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.adapters.postgres.moves._TRIES", 2)
    await filled(move, 2)
    async with session(database_url) as connection:
        await connection.execute("BEGIN; SELECT FROM objects FOR UPDATE")
        with pytest.raises(Unavailable):
            await move.run(FINISH)
    assert (await move.run(FINISH)).finished


async def test_a_replica_that_still_has_the_old_store_takes_nothing_and_says_so(move: Move) -> None:
    workspace, hashes = await filled(move, 2)
    old = move.replica(OLD)
    assert (await move.run(FINISH)).finished
    new = move.replica(NEW)
    sha256 = await new.upload(workspace, b"only in the new one")
    for refused in (old.upload(workspace, LATE), old.read(sha256), old.storage.check()):
        with pytest.raises(StorageUnavailable, match="no longer"):
            await refused
    with pytest.raises(WrongStore):
        await old.collector(move.old)()
    assert await new.read(hashes[0])
    await new.storage.check()
    assert await move.flaws() == []


async def test_once_stores_move_nothing_is_put_into_a_store_that_is_none_of_the_two(move: Move, tmp_path: Path) -> None:
    workspace, _ = await filled(move, 2)
    third = move.stores[THIRD] = FilesystemStorage(tmp_path / "third")
    await third.aopen()
    await move.seen()
    with pytest.raises(StorageUnavailable, match="is not"):
        await move.replica(THIRD).upload(workspace, LATE)


async def test_an_old_store_that_is_not_mounted_makes_nothing_missing(move: Move, tmp_path: Path) -> None:
    _, hashes = await filled(move, 2)
    with pytest.raises(StorageUnavailable):
        await move.run(source=Meddled(move.old, opened=_dies))
    real, empty = move.stores.pop(OLD), FilesystemStorage(tmp_path / "not mounted")
    replica = move.replica(NEW)
    for found in (None, empty):
        if found is not None:
            await found.aopen()
            move.stores[OLD] = found
        for refused in (replica.read(hashes[0]), replica.storage.check()):
            with pytest.raises(StorageUnavailable):
                await refused
    move.stores[OLD] = real
    assert await replica.read(hashes[0])
    await replica.storage.check()


async def _dies(_: str) -> None:
    raise StorageUnavailable("The process is gone.")


async def test_workers_that_have_the_old_store_are_waited_for(move: Move, database_url: str) -> None:
    await filled(move, 2)
    async with session(database_url) as connection:
        await connection.execute(f"SET application_name = '{pulse_name(OLD)}'")
        waits = await move.run(FINISH)
        assert (waits.workers, waits.finished, waits.seen) == (1, False, Pass())
        assert (await move.ledger().stores()).move is not None
        await connection.execute(f"SET application_name = '{pulse_name(NEW)}'")
        assert (await move.run(FINISH)).finished


# --- what cannot be copied --------------------------------------------------------------------------------------------


async def test_bytes_that_neither_store_has_are_marked_and_keep_nothing_from_ending(move: Move) -> None:
    _, hashes = await filled(move, 3)
    await move.old.delete(await key_of(move, hashes[0]))
    done = await move.run(FINISH)
    assert ([each.kind for each in done.seen.findings], done.finished) == ([Kind.MISSING], True)
    row = await move.yard.database.fetchrow("SELECT health FROM blobs WHERE sha256 = $1", bytes.fromhex(hashes[0]))
    assert row is not None
    assert row["health"] == Health.MISSING


async def test_bytes_that_came_into_the_new_store_alone_are_found_there(
    move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.application.merging.PAGE", 1)
    await filled(move, 0)
    workspace = await move.yard.ledger.workspace()
    await move.yard.upload(workspace, hashing_to("0"))
    await move.seen()
    new = move.replica(NEW)

    class Listed:
        """A new store into which a replica writes once its listing was read."""

        def __getattr__(self, name: str) -> Any:
            return getattr(move.new, name)

        async def list(self, after: str = "") -> AsyncIterator[Any]:
            found = [each async for each in move.new.list(after)]
            if found:
                await new.upload(workspace, hashing_to("f"))
            for each in found:
                yield each

    seen = await move.seen(target=Listed())
    assert (seen.objects, seen.there, seen.read_back, seen.findings) == (2, 1, 1, [])


async def test_damaged_bytes_are_marked_and_left_behind_only_by_a_word(move: Move) -> None:
    _, hashes = await filled(move, 3)
    key = await key_of(move, hashes[0])
    overwrite(move, key, flipped(await get(move.old, key)))
    long = await key_of(move, hashes[1])
    overwrite(move, long, await get(move.old, long) + b" and more")
    done = await move.run(FINISH)
    assert ([each.kind for each in done.seen.findings], done.finished) == ([Kind.CORRUPT] * 2, False)
    marked = await move.yard.database.fetch("SELECT FROM blobs WHERE health = 'corrupt'")
    assert len(marked) == 2
    assert (await move.run(Wish(finish=True, leave_damaged=True))).finished
    assert await keys(move.new) == [await key_of(move, hashes[2])]


@pytest.mark.parametrize("always", [False, True])
async def test_bytes_that_read_wrong_once_are_read_again(move: Move, always: bool) -> None:
    await filled(move, 1)
    wrong = Unsteady(move.old, every=2 if always else 1000)
    if always:
        with pytest.raises(StorageUnavailable, match="right and wrong"):
            await move.run(source=wrong)
    else:
        assert (await move.seen(source=wrong)).copied.count == 1
    assert await move.yard.database.fetch("SELECT FROM blobs WHERE health <> 'ok'") == []


class Unsteady:
    """The first read of `every` so many is wrong."""

    def __init__(self, store: Any, every: int) -> None:
        self._store, self._every, self._reads = store, every, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def open(self, key: str, offset: int = 0, length: int | None = None) -> Any:
        stream = await self._store.open(key, offset, length)
        self._reads += 1
        return _Flipped(stream) if self._reads % self._every == 1 else stream


class _Flipped:
    def __init__(self, stream: Any) -> None:
        self._stream, self.size = stream, stream.size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield flipped(chunk)

    async def aclose(self) -> None:
        await self._stream.aclose()


# --- the way back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", [False, True])
async def test_a_move_that_is_not_finished_can_be_turned_back(move: Move, closed: bool) -> None:
    workspace, hashes = await filled(move, 3)
    await move.seen()
    new = move.replica(NEW)
    sha256 = await new.upload(workspace, b"only in the new one")
    if closed:
        key = await key_of(move, hashes[0])
        overwrite(move, key, flipped(content := await get(move.old, key)))
        await move.new.delete(key)
        assert not (await move.run(FINISH)).finished
        overwrite(move, key, content)
        with pytest.raises(StorageUnavailable):
            await move.replica(OLD).upload(workspace, LATE)
    old = move.replica(OLD)
    back = await move.seen(back=True)
    assert back.copied.count == 1
    await old.upload(workspace, b"taken again")
    assert (await move.run(FINISH, back=True)).finished
    with pytest.raises(StorageUnavailable, match="no longer"):
        await new.upload(workspace, LATE)
    assert await get(move.old, await key_of(move, sha256)) == b"only in the new one"
    assert await move.yard.flaws() == []


async def test_a_run_that_is_killed_as_it_opens_a_closed_store_again_is_continued_by_the_next_one(move: Move) -> None:
    _, hashes = await filled(move, 2)
    key = await key_of(move, hashes[0])
    overwrite(move, key, flipped(content := await get(move.old, key)))
    assert not (await move.run(FINISH)).finished, "and the old store is closed"
    overwrite(move, key, content)
    await move.ledger().begin(NEW, OLD)
    assert (await move.run(FINISH, back=True)).finished
    assert await move.yard.flaws() == []


async def test_what_a_killed_run_left_in_doubt_is_read_back_after_two_turns(move: Move) -> None:
    await filled(move, 4)
    committed: list[str] = []

    async def die(key: str) -> None:
        committed.append(key)
        overwrite(move, key, flipped(await get(move.old, key)), at=NEW)
        raise StorageUnavailable("The process is gone.")

    with pytest.raises(StorageUnavailable):
        await move.run(target=Meddled(move.new, committed=die), jobs=1)
    assert (await move.seen(back=True)).there == 4, "nothing is in doubt there"
    done = await move.run(FINISH)
    assert [(finding.kind, finding.key) for finding in done.seen.findings] == [(Kind.FOREIGN, committed[0])]
    assert not done.finished


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_a_new_store_must_be_empty_and_nobody_elses(move: Move) -> None:
    await filled(move, 1)
    await move.new.write_note(NOTE, b"0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b")
    with pytest.raises(MoveRefused, match="another database's"):
        await move.run()
    (move.new._objects / NOTE).unlink()
    await move.yard.upload(await move.yard.ledger.workspace(), storage=move.new)
    with pytest.raises(MoveRefused, match="must be empty"):
        await move.run()
    assert (await move.ledger().stores()).move is None


async def test_the_old_store_must_be_the_databases(move: Move) -> None:
    await filled(move, 1)
    (move.old._objects / NOTE).unlink()
    with pytest.raises(MoveRefused, match="no sentinel of it"):
        await move.run()


async def test_one_store_under_two_names_is_told_from_two(move: Move) -> None:
    await filled(move, 1)
    move.stores[NEW] = FilesystemStorage(move.old._objects.parent)
    with pytest.raises(MoveRefused, match="one store"):
        await move.run()
    assert (await move.ledger().stores()).move is None


async def test_one_move_is_under_way_at_a_time(move: Move) -> None:
    await filled(move, 1)
    await move.seen()
    with pytest.raises(MoveRefused, match=f"from {OLD} to {NEW} is under way"):
        await move.ledger().begin(OLD, THIRD)


async def test_a_database_that_was_restored_copies_nothing_before_it_has_adopted(move: Move) -> None:
    await filled(move, 1)
    await move.old.write_note(FENCE, b"1000000")
    for wish in (Wish(), FINISH, Wish(dry_run=True)):
        with pytest.raises(BehindFence):
            await move.run(wish)
    assert await keys(move.new) == []


async def test_two_runs_do_not_meet(database_url: str) -> None:
    async with moving_alone({"dsn": database_url}):
        with pytest.raises(MoveRefused, match="Another"):
            async with moving_alone({"dsn": database_url}):
                pass
    async with moving_alone({"dsn": database_url}):
        pass


async def test_a_fault_of_the_database_is_none_of_a_missing_object(move: Move) -> None:
    await filled(move, 1)
    replica = move.replica(OLD)
    with pytest.raises(ObjectMissing):
        await replica.storage.open(key_for(new_hash()))


# --- the load ---------------------------------------------------------------------------------------------------------


async def test_a_throttled_run_takes_its_time(move: Move) -> None:
    await filled(move, 3)
    told: list[int] = []
    total = sum([len(await get(move.old, key)) for key in await keys(move.old)])
    throttle = Throttle(bytes_a_second=total * 4, objects_a_second=10, tell=told.append)
    began = asyncio.get_running_loop().time()
    await move.runner(jobs=1)(Wish(), throttle, lambda _: None)
    assert asyncio.get_running_loop().time() - began >= 0.2
    assert told[-1] == total


async def test_a_long_pass_tells_how_far_it_is(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_EVERY", 2), ("_TOGETHER", 3)):
        monkeypatch.setattr(f"service.application.copy_objects.{name}", value)
    monkeypatch.setattr("service.application.copy_objects.MOST_TOLD", 1)
    _, hashes = await filled(move, 7)
    for sha256 in hashes[:2]:
        await move.old.delete(await key_of(move, sha256))
    told: list[float] = []
    moved = await move.runner()(FINISH, Throttle(), told.append)
    assert (told == sorted(told), len(told), told[-1]) == (True, 4, 1.0)
    assert (len(moved.seen.findings), moved.seen.copied.count) == (1, 5)
