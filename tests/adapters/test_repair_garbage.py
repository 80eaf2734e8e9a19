"""fsck on a real Postgres and real stores: bytes that no row knows, and uploads under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import cast

import anyio
import pytest

from service.application.check_store import Check
from service.application.findings import Kind
from service.application.lifetimes import Lifetimes
from service.application.upload_blob import Upload, UploadBlob
from service.ports.storage import StagedObject, StoredObject
from tests.parts.blobs import key_for, keys
from tests.parts.collecting import MOMENT, PlainProber
from tests.parts.ledgers import (
    ACTOR,
    LEASE,
    UPLOAD,
    hash_of,
)
from tests.parts.repairing import DRY, Between, Workshop, filled, kinds

pytestmark = pytest.mark.anyio


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
