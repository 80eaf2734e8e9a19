"""fsck on a real Postgres and real stores: what is found, what is done, what is left alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.s3.client import connect
from service.adapters.s3.storage import S3Storage
from service.application.check_store import Check
from service.application.findings import Kind
from service.domain.blob import Sha256
from service.domain.errors import BlobNotHeld, StorageUnavailable, WrongStore
from service.domain.health import Health
from service.ports.storage import ByteStream, StoredObject
from tests.parts.blobs import key_for, keys
from tests.parts.buckets import emptied_bucket, opened, physical_keys
from tests.parts.collecting import MOMENT, QUARANTINE, opened_yard
from tests.parts.ledgers import (
    ACTOR,
    UPLOAD,
    attach,
    book,
    hash_of,
    new_hash,
    opened_database,
    postgres_ledger,
)
from tests.parts.relay import Fate, running_relay
from tests.parts.repairing import AT_ONCE, DRY, Between, Workshop, filled, kinds
from tests.parts.seaweed import Seaweed

pytestmark = pytest.mark.anyio


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
        config = await emptied_bucket(seaweed, endpoint_url=relay.url, patience=20.0, attempts=2)
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
