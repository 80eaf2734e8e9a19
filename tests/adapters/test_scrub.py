"""scrub on a real Postgres and real stores: damage, bad reads, what a run leaves to the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from service.application.findings import Kind
from service.application.scrub import CLAIM, Budget
from service.domain.health import Health
from service.ports.storage import ByteStream
from tests.parts.blobs import get
from tests.parts.collecting import MOMENT
from tests.parts.ledgers import (
    ACTOR,
)
from tests.parts.repairing import Between, Workshop, filled, kinds

pytestmark = pytest.mark.anyio


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
    # Whoever begins late would read again what was read before that: all look for what was not read for an hour.
    await shop.yard.advance(timedelta(hours=2))
    stale = Budget(older_than=timedelta(hours=1))
    reports = await asyncio.gather(*(shop.scrub(stale) for _ in range(4)))
    assert sum(report.rows for report in reports) == len(hashes)


async def test_a_rate_is_kept(shop: Workshop) -> None:
    workspace, _ = await filled(shop, 1)
    await shop.yard.upload(workspace, b"x" * 60_000)
    started, seen = asyncio.get_running_loop().time(), list[int]()
    report = await shop.scrub(Budget(rate=100_000), tell=seen.append)
    assert asyncio.get_running_loop().time() - started >= 0.5
    assert seen[-1] == report.bytes > 60_000
