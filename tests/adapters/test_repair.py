"""fsck, scrub and healing on a real Postgres and real stores: what is found, what is done, what is left alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import anyio
import pytest

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.postgres.holds import PostgresHolds
from service.adapters.s3.client import connect
from service.adapters.s3.storage import S3Storage
from service.application.check_store import Check
from service.application.findings import Kind
from service.application.lifetimes import Lifetimes
from service.application.scrub import CLAIM, Budget
from service.application.upload_blob import Upload, UploadBlob
from service.domain.blob import Sha256
from service.domain.decision import HoldingState, decide_renewal
from service.domain.errors import BlobNotHeld, StorageUnavailable, WrongStore
from service.domain.event import DecisionKind, HoldingEvent
from service.domain.health import Health
from service.domain.hold import HoldKind
from service.domain.hold_decision import PlaceHold, decide_place
from service.ports.storage import ByteStream, StagedObject, StoredObject
from tests.parts.blobs import get, key_for, keys
from tests.parts.buckets import emptied_bucket, opened, physical_keys
from tests.parts.collecting import MOMENT, QUARANTINE, PlainProber, Store, opened_yard
from tests.parts.ledgers import (
    ACTOR,
    LEASE,
    UPLOAD,
    attach,
    book,
    hash_of,
    new_hash,
    opened_database,
    postgres_ledger,
)
from tests.parts.relay import Fate, running_relay
from tests.parts.repairing import AT_ONCE, DRY, Between, Workshop, kinds
from tests.parts.seaweed import Seaweed

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["filesystem", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "filesystem":
        made = FilesystemStorage(tmp_path)
        await made.aopen()
        yield made
    else:
        async with opened(await emptied_bucket(request.getfixturevalue("seaweed")), tmp_path) as bucket:
            yield bucket


@pytest.fixture
async def shop(database_url: str, store: Store, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with (
        opened_database(database_url, 8) as database,
        opened_yard(database, store, postgres_ledger(database)) as yard,
    ):
        yield Workshop(yard, tmp_path)


async def filled(shop: Workshop, count: int = 6) -> tuple[str, list[Sha256]]:
    """A workspace with blobs, half of them used by refs, and a guard that has seen its store."""
    await shop.guard()()
    workspace = await shop.yard.ledger.workspace()
    hashes = [await shop.yard.upload(workspace) for _ in range(count)]
    for number, sha256 in enumerate(hashes[: count // 2]):
        await shop.yard.ledger.attach(attach(book(workspace, number), "cover", sha256, 0))
    return workspace, hashes


# --- I16: nothing to repair -------------------------------------------------------------------------------------------


async def test_fsck_and_scrub_change_nothing_on_a_healthy_system(shop: Workshop) -> None:
    workspace, hashes = await filled(shop)
    await shop.yard.ledger.blobs.release(workspace, hashes[-1], ACTOR)
    await shop.yard.collect()
    await shop.yard.ledger.objects.reserve(new_hash(), 7, UPLOAD)
    before = await shop.image()
    report = await shop.fsck(Check(timedelta(), max_delete_percent=0, recount=True))
    assert (report.is_well, kinds(report), report.rows, report.stored) == (True, {}, 7, 6)
    report = await shop.scrub()
    assert (report.is_well, kinds(report), report.rows, report.left) == (True, {}, 5, 0)
    assert await shop.image() == before


async def test_fsck_and_scrub_find_nothing_wrong_beside_uploads_and_collectors(shop: Workshop) -> None:
    workspace, _ = await filled(shop)
    collector = shop.yard.collector()
    done = asyncio.Event()

    async def traffic(number: int) -> None:
        for turn in range(12):
            sha256 = await shop.yard.upload(workspace, f"shared {turn}".encode())
            if number % 2:
                with contextlib.suppress(BlobNotHeld):  # given up meanwhile by another
                    await shop.yard.ledger.attach(attach(book(workspace, 100 + turn), "notes", sha256))
            else:
                await _given_up(shop, workspace, sha256)
            await collector()

    async def repair() -> None:
        while not done.is_set():
            for report in (await shop.fsck(), await shop.scrub()):
                assert (report.is_well, kinds(report)) == (True, {})

    await shop.yard.database.fetch("UPDATE objects SET delete_after = refkeep_now() WHERE state = 'condemned'")
    repairing = [asyncio.ensure_future(repair()) for _ in range(2)]
    await asyncio.gather(*(traffic(number) for number in range(4)))
    done.set()
    await asyncio.gather(*repairing)
    await shop.yard.collect()
    assert await shop.yard.flaws() == []


async def _given_up(shop: Workshop, workspace: str, sha256: Sha256) -> None:
    try:
        await shop.yard.ledger.blobs.release(workspace, sha256, ACTOR)
    except Exception as error:  # noqa: BLE001 - somebody uses it, or was faster
        assert type(error).__name__ in {"BlobInUse", "NotFound"}, error


# --- missing ----------------------------------------------------------------------------------------------------------


async def test_a_blob_without_bytes_is_marked_and_told_to_every_holder_once(shop: Workshop) -> None:
    ours, hashes = await filled(shop)
    theirs, strangers = await shop.yard.ledger.workspace(), await shop.yard.ledger.workspace()
    lost = hash_of("lost")
    for workspace in (ours, theirs):
        await shop.yard.upload(workspace, b"lost")
    await shop.lose(lost)
    report = await shop.fsck(DRY)
    assert (kinds(report), report.is_well) == ({Kind.MISSING: 1}, False)
    assert (await shop.health_of(lost), await shop.told(ours)) == (Health.OK, []), "a dry run only tells"
    reports = await asyncio.gather(*(shop.fsck() for _ in range(4)))
    assert {report.counts[Kind.MISSING] for report in reports} == {1}
    assert (await shop.fsck()).told[0].key[6:70] == lost
    assert await shop.health_of(lost) is Health.MISSING
    assert await shop.told(ours) == await shop.told(theirs) == [(Health.MISSING, lost)]
    assert await shop.told(strangers) == []
    assert [await shop.health_of(sha256) for sha256 in hashes] == [Health.OK] * len(hashes)


async def test_rows_that_need_no_bytes_are_fine_without(shop: Workshop) -> None:
    workspace, hashes = await filled(shop)
    condemned = await shop.key_of(hashes[-1])
    await shop.yard.ledger.blobs.release(workspace, hashes[-1], ACTOR)
    await shop.yard.collect()
    await shop.store.delete(condemned)
    await shop.yard.ledger.objects.reserve(new_hash(), 7, UPLOAD)
    await shop.yard.advance(UPLOAD + MOMENT)
    assert kinds(await shop.fsck()) == {}


async def test_a_blob_that_goes_while_fsck_looks_is_not_missed(shop: Workshop) -> None:
    workspace, _ = await filled(shop, 2)
    going = await shop.yard.upload(workspace)
    key = await shop.key_of(going)

    class Collecting(Between):
        async def open(self, opened: str, offset: int = 0, length: int | None = None) -> ByteStream:
            if opened == key:
                await shop.yard.ledger.blobs.release(workspace, going, ACTOR)
                await shop.yard.collect()
                await shop.yard.advance(QUARANTINE + MOMENT)
                await shop.yard.collect()
            return await super().open(opened, offset, length)

        async def list(self, after: str = "") -> AsyncIterator[StoredObject]:
            async for found in super().list(after):
                if found.key != key:
                    yield found

    for check in (DRY, AT_ONCE):
        going = await shop.yard.upload(workspace, b"going")
        key = await shop.key_of(going)
        assert kinds(await shop.fsck(check, Collecting(shop.store))) == {}


async def test_a_row_that_goes_with_its_bytes_before_they_are_listed_is_not_missed(shop: Workshop) -> None:
    workspace, _ = await filled(shop, 2)
    going = await shop.yard.upload(workspace)

    class Collecting(Between):
        async def list(self, after: str = "") -> AsyncIterator[StoredObject]:
            await shop.yard.ledger.blobs.release(workspace, going, ACTOR)
            await shop.yard.collect()
            await shop.yard.advance(QUARANTINE + MOMENT)
            await shop.yard.collect()
            async for found in super().list(after):
                yield found

    report = await shop.fsck(storage=Collecting(shop.store))
    assert (kinds(report), report.rows, report.stored) == ({}, 3, 2)


async def test_bytes_that_came_back_are_read_before_they_are_believed(shop: Workshop) -> None:
    workspace, _ = await filled(shop)
    sha256 = await shop.yard.upload(workspace, b"to and fro")
    content, key = b"to and fro", await shop.lose(sha256)
    await shop.fsck()
    await _put_back(shop, key, b"fro and to")
    assert kinds(await shop.fsck()) == {Kind.CORRUPT: 1}
    await _put_back(shop, key, content)
    assert kinds(await shop.fsck()) == {Kind.CORRUPT: 1}, "what is known to be damaged is a scrub's affair"
    assert kinds(await shop.scrub()) == {Kind.HEALED: 1}
    assert [health for health, _ in await shop.told(workspace)] == [Health.MISSING, Health.CORRUPT, Health.OK]
    await shop.lose(sha256)
    await shop.fsck()
    await _put_back(shop, key, content)
    report = await shop.fsck()
    assert (kinds(report), report.is_well) == ({Kind.HEALED: 1}, True)
    assert await shop.health_of(sha256) is Health.OK
    assert kinds(await shop.fsck()) == {}


async def _put_back(shop: Workshop, key: str, content: bytes) -> None:
    if key in await keys(shop.store):
        await shop.overwrite(key, content)
        return
    staged = await shop.store.stage()
    await staged.write(content)
    if isinstance(shop.store, S3Storage):
        await staged.cancel()
        await shop.overwrite(key, content)
    else:
        await staged.commit(key)


async def test_an_object_of_another_size_is_corrupt(shop: Workshop) -> None:
    workspace, hashes = await filled(shop)
    await shop.overwrite(await shop.key_of(hashes[0]), b"short")
    report = await shop.fsck()
    assert (kinds(report), report.is_well) == ({Kind.CORRUPT: 1}, False)
    assert await shop.told(workspace) == [(Health.CORRUPT, hashes[0])]


# --- bytes without a row ----------------------------------------------------------------------------------------------


async def test_bytes_without_a_row_are_removed_once_they_are_old(shop: Workshop) -> None:
    _, hashes = await filled(shop)
    stray, before = await shop.stray(b"nobody's"), set(await keys(shop.store))
    report = await shop.fsck(Check(timedelta(hours=1)))
    assert (kinds(report), report.is_well) == ({Kind.YOUNG: 1}, True)
    assert kinds(await shop.fsck(DRY)) == {Kind.GARBAGE: 1}
    assert set(await keys(shop.store)) == before
    await shop.yard.advance(timedelta(hours=1) + MOMENT)
    report = await shop.fsck(Check(timedelta(hours=1)))
    assert (kinds(report), report.is_well) == ({Kind.GARBAGE: 1}, True)
    assert set(await keys(shop.store)) == before - {stray}
    assert all([await shop.yard.readable(sha256) for sha256 in hashes])


async def test_bytes_that_went_since_they_were_listed_are_nobodys_affair(shop: Workshop) -> None:
    await filled(shop)

    class Remembering(Between):
        async def list(self, after: str = "") -> AsyncIterator[StoredObject]:
            gone = StoredObject(key_for("f" * 64), 3, datetime(2020, 1, 1, tzinfo=UTC))
            async for found in super().list(after):
                yield found
            yield gone

    report = await shop.fsck(storage=Remembering(shop.store))
    assert (kinds(report), report.is_well) == ({}, True)
    assert kinds(await shop.adopt(storage=Remembering(shop.store))) == {}


async def test_more_garbage_than_a_page_is_removed(shop: Workshop) -> None:
    """Pages are of 100 and 200; two folders hold them all, and the walk tells how far it has come."""
    _, hashes = await filled(shop, 2)
    for number in range(210):
        await shop.stray(f"stray {number}".encode())
    told: list[float] = []
    report = await shop.fsck(tell=told.append)
    assert (kinds(report), len(await keys(shop.store))) == ({Kind.GARBAGE: 210}, len(hashes))
    assert 0 <= told[0] <= told[1] <= 1


async def test_too_much_garbage_stops_the_run_before_anything_is_removed(shop: Workshop) -> None:
    await filled(shop, 2)
    for number in range(3):
        await shop.stray(f"stray {number}".encode())
    report = await shop.fsck(Check(timedelta(), max_delete_percent=59))
    assert (report.too_much, report.is_well, len(await keys(shop.store))) == (60.0, False, 5)
    report = await shop.fsck(Check(timedelta(), max_delete_percent=60))
    assert (report.too_much, report.is_well, len(await keys(shop.store))) == (None, True, 2)


async def test_two_runs_at_once_remove_garbage_and_nothing_else(shop: Workshop) -> None:
    _, hashes = await filled(shop)
    for number in range(20):
        await shop.stray(f"stray {number}".encode())
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(shop.fsck)
    assert len(await keys(shop.store)) == len(hashes)
    assert await shop.yard.flaws() == []


@pytest.mark.parametrize("stops", ["between reserve and put", "between put and publish"])
async def test_an_upload_under_way_loses_nothing_to_fsck(shop: Workshop, stops: str) -> None:
    workspace, _ = await filled(shop)
    reached, goes_on = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        reached.set()
        await goes_on.wait()

    ledger, stored = shop.yard.ledger, shop.store

    class Pausing(Between):
        async def stage(self) -> StagedObject:
            staged = _PausingStaged(await stored.stage(), pause, before=stops == "between reserve and put")
            return cast("StagedObject", staged)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"under way"

    upload = UploadBlob(Pausing(stored), PlainProber(), ledger.objects, ledger.blobs, Lifetimes(holding=LEASE))
    sending = asyncio.ensure_future(upload(Upload(workspace, ACTOR, chunks(), 1000)))
    await reached.wait()
    for _ in range(2):
        report = await shop.fsck()
        assert (kinds(report), report.is_well) == ({}, True)
    goes_on.set()
    await sending
    assert await shop.yard.readable(hash_of("under way"))
    assert await shop.yard.flaws() == []


async def test_an_upload_that_begins_behind_the_place_of_the_walk_is_no_garbage(shop: Workshop) -> None:
    """Its row is committed after its page was read, its bytes are listed: the row is looked for once more."""
    workspace, _ = await filled(shop, 1)

    class Uploading(Between):
        async def list(self, after: str = "") -> AsyncIterator[StoredObject]:
            for number in range(5):
                await shop.yard.upload(workspace, f"late {number}".encode())
            reservation = await shop.yard.ledger.objects.reserve(hash_of("put"), 3, UPLOAD)
            staged = await shop.store.stage()
            await staged.write(b"put")
            await staged.commit(reservation.key)
            async for found in super().list(after):
                yield found

    report = await shop.fsck(storage=Uploading(shop.store))
    assert (kinds(report), report.stored) == ({}, 7)
    assert await shop.yard.flaws() == []


class _PausingStaged:
    def __init__(self, staged: object, pause: object, *, before: bool) -> None:
        self._staged, self._pause, self._before = staged, pause, before

    def __getattr__(self, name: str) -> object:
        return getattr(self._staged, name)

    async def commit(self, key: str) -> None:
        if self._before:
            await self._pause()  # type: ignore[operator]
        await self._staged.commit(key)  # type: ignore[attr-defined]
        if not self._before:
            await self._pause()  # type: ignore[operator]


# --- the rest ---------------------------------------------------------------------------------------------------------


async def test_a_live_object_that_no_blob_shows_is_condemned(shop: Workshop) -> None:
    await filled(shop)
    reservation = await shop.yard.ledger.objects.reserve(hash_of("unused"), 6, UPLOAD)
    staged = await shop.store.stage()
    await staged.write(b"unused")
    await staged.commit(reservation.key)
    await shop.yard.database.fetch("UPDATE objects SET state = 'live' WHERE key = $1", reservation.key)
    report = await shop.fsck(DRY)
    assert (kinds(report), report.is_well) == ({Kind.UNUSED: 1}, False)
    report = await shop.fsck()
    assert (kinds(report), report.is_well) == ({Kind.UNUSED: 1}, True)
    await shop.yard.collect()
    assert reservation.key in await keys(shop.store), "within its quarantine"
    await shop.yard.advance(QUARANTINE + MOMENT)
    await shop.yard.collect()
    assert reservation.key not in await keys(shop.store)


async def test_a_workspace_that_is_charged_wrongly_is_told_and_mended_on_demand(shop: Workshop) -> None:
    workspace, hashes = await filled(shop)
    await shop.yard.database.fetch("UPDATE workspaces SET used_bytes = used_bytes + 5 WHERE slug = $1", workspace)
    report = await shop.fsck()
    assert ([drift.slug for drift in report.drift], report.is_well) == ([workspace], False)
    report = await shop.fsck(Check(timedelta(), recount=True))
    assert (report.drift, report.is_well) == ([], True)
    found = await shop.yard.ledger.workspaces.find(workspace)
    assert found is not None
    assert found.used_items == len(hashes)
    assert await shop.yard.flaws() == []


async def test_the_wrong_store_is_not_compared(shop: Workshop, tmp_path: Path) -> None:
    await filled(shop)
    other = FilesystemStorage(tmp_path / "not mounted")
    await other.aopen()
    shop.yard.store = other
    for run in (shop.fsck, shop.scrub, shop.adopt):
        with pytest.raises(WrongStore):
            await run()
    [row] = await shop.yard.database.fetch("SELECT count(*) FROM blobs WHERE health <> 'ok'")
    assert row["count"] == 0


async def test_uploads_in_parts_that_never_ended_are_ended_when_they_are_old(seaweed: Seaweed, shop: Workshop) -> None:
    await filled(shop)
    if isinstance(shop.store, FilesystemStorage):
        assert (await shop.fsck()).unfinished == 0
        return
    assert isinstance(shop.store, S3Storage)
    config, key = shop.store._config, key_for("abcd" + "0" * 60)
    async with connect(config) as client:
        for name in (key, "somebody/elses"):
            await client.create_multipart_upload(Bucket=config.bucket, Key=name)
    assert (await shop.fsck()).unfinished == 0
    await shop.yard.advance(UPLOAD + timedelta(hours=1))
    assert (await shop.fsck(DRY)).unfinished == 1
    assert f"upload of {key}" in await physical_keys(config)
    assert (await shop.fsck()).unfinished == 1
    assert (await shop.fsck()).unfinished == 0
    async with connect(config) as client:
        left = (await client.list_multipart_uploads(Bucket=config.bucket)).get("Uploads", [])
        assert [upload["Key"] for upload in left] == ["somebody/elses"]
        await client.abort_multipart_upload(Bucket=config.bucket, Key=left[0]["Key"], UploadId=left[0]["UploadId"])


# --- stores that fail: never an absence -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404, 500, 503])
async def test_what_a_store_refuses_is_not_missing(
    seaweed: Seaweed, database_url: str, tmp_path: Path, status: int
) -> None:
    """A 404 without the store's own code may be a proxy's."""
    async with running_relay((seaweed.host, seaweed.port)) as relay:
        config = await emptied_bucket(seaweed, endpoint_url=relay.url, patience=1.0, attempts=2)
        async with (
            opened(config, tmp_path) as bucket,
            opened_database(database_url, 4) as database,
            opened_yard(database, bucket, postgres_ledger(database)) as yard,
        ):
            shop = Workshop(yard, tmp_path)
            workspace, hashes = await filled(shop)
            lost = await shop.lose(hashes[0])
            relay.decide = lambda head: Fate(status) if head.startswith(b"GET") and lost.encode() in head else Fate()
            with pytest.raises(StorageUnavailable):
                await shop.fsck()
            report = await shop.scrub()
            assert (kinds(report), report.is_well, report.left) == ({Kind.UNREADABLE: 1}, False, 1)
            relay.decide = lambda head: Fate(status) if b".uuid" in head or b"GET" in head[:3] else Fate()
            with pytest.raises(StorageUnavailable):
                await shop.scrub()
            assert await shop.told(workspace) == []
            relay.decide = lambda _: Fate()
            assert kinds(await shop.fsck()) == {Kind.MISSING: 1}


async def test_a_store_that_reads_nothing_ends_a_scrub(shop: Workshop) -> None:
    workspace, _ = await filled(shop, 10)

    class Refusing(Between):
        async def open(self, key: str, offset: int = 0, length: int | None = None) -> ByteStream:
            raise StorageUnavailable(f"The store does not answer: {key}, {offset}, {length}.")

    with pytest.raises(StorageUnavailable, match="one object after the other"):
        await shop.scrub(storage=Refusing(shop.store))
    assert await shop.told(workspace) == []


async def test_a_store_that_lists_in_no_order_is_not_compared(shop: Workshop) -> None:
    await filled(shop)

    class Shuffled(Between):
        async def list(self, after: str = "") -> AsyncIterator[StoredObject]:
            for found in reversed([found async for found in super().list(after)]):
                yield found

    with pytest.raises(StorageUnavailable, match="in order"):
        await shop.fsck(storage=Shuffled(shop.store))


# --- scrub ------------------------------------------------------------------------------------------------------------


async def test_damage_that_keeps_the_size_is_found_by_scrub(shop: Workshop) -> None:
    workspace, hashes = await filled(shop)
    key = await shop.key_of(hashes[0])
    content = await get(shop.store, key)
    await shop.overwrite(key, content[:-1] + b"?")
    assert kinds(await shop.fsck()) == {}
    for _ in range(2):
        report = await shop.scrub()
        assert (kinds(report), report.is_well) == ({Kind.CORRUPT: 1}, False)
    assert await shop.told(workspace) == [(Health.CORRUPT, hashes[0])]
    await shop.lose(hashes[1])
    assert kinds(await shop.scrub()) == {Kind.CORRUPT: 1, Kind.MISSING: 1}


async def test_one_bad_read_is_told_and_marks_nothing(shop: Workshop) -> None:
    workspace, hashes = await filled(shop, 2)
    key, content, opened_so_far = await shop.key_of(hashes[0]), b"", []

    class Flipping(Between):
        async def open(self, asked: str, offset: int = 0, length: int | None = None) -> ByteStream:
            stream = await super().open(asked, offset, length)
            if asked != key or asked in opened_so_far:
                return stream
            opened_so_far.append(asked)
            return _Flipped(stream)

    report = await shop.scrub(storage=Flipping(shop.store))
    assert (kinds(report), report.is_well, content) == ({Kind.UNSTEADY: 1}, False, b"")
    assert await shop.told(workspace) == []
    assert kinds(await shop.scrub()) == {}


class _Flipped:
    def __init__(self, stream: ByteStream) -> None:
        self._stream, self.size, self.path, self.aclose = stream, stream.size, stream.path, stream.aclose

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield bytes([chunk[0] ^ 1]) + chunk[1:]


async def test_a_scrub_reads_the_longest_unread_first_and_goes_on_where_it_was_left(shop: Workshop) -> None:
    _, hashes = await filled(shop)
    order = [await shop.key_of(sha256) for sha256 in hashes]
    read: list[str] = []

    class Noting(Between):
        async def open(self, key: str, offset: int = 0, length: int | None = None) -> ByteStream:
            read.append(key)
            return await super().open(key, offset, length)

    noting = Noting(shop.store)
    report = await shop.scrub(Budget(max_bytes=1), noting)
    assert (read, report.left) == (order[:1], 5)
    report = await shop.scrub(Budget(max_bytes=report.bytes + 1), noting)
    assert (read, report.left) == (order[:3], 4)
    report = await shop.scrub(Budget(), noting)
    assert (read, report.rows, report.left) == ([*order, *order[:3]], 6, 0)
    read.clear()
    assert (await shop.scrub(Budget(older_than=timedelta(hours=1)), noting)).rows == 0
    assert (await shop.scrub(Budget(max_seconds=0), noting)).left == 6
    assert read == []


async def test_a_scrub_that_is_killed_is_continued_by_the_next(shop: Workshop) -> None:
    _, hashes = await filled(shop, 20)
    reached, read = asyncio.Event(), 0

    class Hanging(Between):
        async def open(self, key: str, offset: int = 0, length: int | None = None) -> ByteStream:
            nonlocal read
            read += 1
            if read == 5:
                reached.set()
                await asyncio.Event().wait()
            return await super().open(key, offset, length)

    killed = asyncio.ensure_future(shop.scrub(storage=Hanging(shop.store)))
    await reached.wait()
    killed.cancel()
    await asyncio.wait([killed])
    beside = await shop.scrub(Budget(older_than=timedelta()))
    assert beside.left == 0 or beside.rows >= len(hashes) - 16, "what was claimed is left to whoever claimed it"
    await shop.yard.advance(CLAIM + MOMENT)
    [row] = await shop.yard.database.fetch("SELECT count(*) FROM objects WHERE scrub_until > refkeep_now()")
    assert row["count"] == 0
    report = await shop.scrub()
    assert (report.rows, report.left) == (20, 0)


async def test_an_object_that_goes_while_it_is_read_is_nobodys_loss(shop: Workshop) -> None:
    workspace, _ = await filled(shop, 1)
    going = await shop.yard.upload(workspace)
    key = await shop.key_of(going)

    class Collecting(Between):
        async def open(self, opened: str, offset: int = 0, length: int | None = None) -> ByteStream:
            if opened == key:
                await shop.yard.ledger.blobs.release(workspace, going, ACTOR)
                await shop.yard.collect()
                await shop.store.delete(key)
            return await super().open(opened, offset, length)

    report = await shop.scrub(storage=Collecting(shop.store))
    assert (kinds(report), report.is_well, report.rows) == ({}, True, 2)


async def test_scrubs_at_once_share_the_work(shop: Workshop) -> None:
    _, hashes = await filled(shop, 40)
    reports = await asyncio.gather(*(shop.scrub() for _ in range(4)))
    assert sum(report.rows for report in reports) == len(hashes)


async def test_a_rate_is_kept(shop: Workshop) -> None:
    workspace, _ = await filled(shop, 1)
    await shop.yard.upload(workspace, b"x" * 60_000)
    started, seen = asyncio.get_running_loop().time(), list[int]()
    report = await shop.scrub(Budget(rate=100_000), tell=seen.append)
    assert asyncio.get_running_loop().time() - started >= 0.5
    assert seen[-1] == report.bytes > 60_000


# --- healing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["the same workspace", "another one"])
@pytest.mark.parametrize("damage", [Health.MISSING, Health.CORRUPT])
async def test_the_next_upload_of_the_same_bytes_heals(shop: Workshop, who: str, damage: Health) -> None:
    holder, _ = await filled(shop)
    sha256 = await shop.yard.upload(holder, b"precious")
    await shop.yard.ledger.attach(attach(book(holder, 77), "cover", sha256, 0))
    old = await shop.key_of(sha256)
    if damage is Health.MISSING:
        await shop.store.delete(old)
    else:
        await shop.overwrite(old, b"pernicious")
    await shop.fsck()
    assert await shop.health_of(sha256) is damage
    sender = holder if who == "the same workspace" else await shop.yard.ledger.workspace()
    await shop.yard.upload(sender, b"precious")
    assert await shop.health_of(sha256) is Health.OK
    assert await shop.key_of(sha256) != old
    assert await shop.yard.readable(sha256)
    assert await shop.told(holder) == [(damage, sha256), (Health.OK, sha256)]
    assert await shop.told(sender) == ([(damage, sha256)] if sender == holder else []) + [(Health.OK, sha256)]
    acquired = [event for event in await shop.yard.ledger.events(sender) if isinstance(event, HoldingEvent)][-1]
    assert acquired.decision is (DecisionKind.DUPLICATE if sender == holder else DecisionKind.INSERT)
    assert {event.actor.id for event in await shop.yard.ledger.events(holder)} <= {ACTOR.id, "repair"}
    await shop.yard.collect()
    assert old not in await keys(shop.store)
    assert kinds(await shop.fsck()) == kinds(await shop.scrub()) == {}
    assert await shop.yard.flaws() == []


async def test_many_uploads_at_once_heal_once(shop: Workshop) -> None:
    holder, _ = await filled(shop)
    sha256 = await shop.yard.upload(holder, b"wanted by all")
    await shop.lose(sha256)
    await shop.fsck()
    senders = [holder, *[await shop.yard.ledger.workspace() for _ in range(5)]]
    await asyncio.gather(*(shop.yard.upload(sender, b"wanted by all") for sender in senders))
    assert await shop.told(holder) == [(Health.MISSING, sha256), (Health.OK, sha256)]
    await shop.yard.collect()
    assert len([key for key in await keys(shop.store) if sha256 in key]) == 1
    assert await shop.yard.flaws() == []


async def test_a_marked_blob_is_asked_for_again_and_not_attached(shop: Workshop) -> None:
    holder, _ = await filled(shop)
    sha256 = await shop.yard.upload(holder, b"asked for")
    await shop.lose(sha256)
    await shop.fsck()

    def renewal(state: HoldingState) -> HoldingEvent | None:
        return decide_renewal(state, LEASE, ACTOR, always=True)

    assert await shop.yard.ledger.blobs.renew(holder, [sha256], renewal) == {}
    with pytest.raises(BlobNotHeld):
        await shop.yard.ledger.attach(attach(book(holder, 78), "cover", sha256, 0))
    assert await shop.yard.ledger.blobs.find(holder, sha256) is not None
    await shop.yard.upload(holder, b"asked for")
    assert list(await shop.yard.ledger.blobs.renew(holder, [sha256], renewal)) == [sha256]
    await shop.yard.ledger.attach(attach(book(holder, 78), "cover", sha256, 0))


async def test_a_marked_blob_on_hold_is_not_asked_for(shop: Workshop) -> None:
    holder, _ = await filled(shop)
    sha256 = await shop.yard.upload(holder, b"evidence")
    await shop.lose(sha256)
    await shop.fsck()
    command = PlaceHold(sha256, HoldKind.LEGAL, "Order 4711", ACTOR)
    await PostgresHolds(shop.yard.database).change(sha256, lambda state: decide_place(state, command))
    held = await shop.yard.ledger.blobs.renew(holder, [sha256], lambda state: decide_renewal(state, LEASE, ACTOR))
    assert held == {sha256: None}


async def test_a_mark_goes_with_its_blob(shop: Workshop) -> None:
    holder, _ = await filled(shop)
    sha256 = await shop.yard.upload(holder, b"given up")
    await shop.lose(sha256)
    await shop.fsck()
    await shop.yard.ledger.blobs.release(holder, sha256, ACTOR)
    await shop.yard.collect()
    assert kinds(await shop.fsck()) == {}
    await shop.yard.upload(holder, b"given up")
    assert await shop.health_of(sha256) is Health.OK
    assert [health for health, _ in await shop.told(holder)] == [Health.MISSING]
