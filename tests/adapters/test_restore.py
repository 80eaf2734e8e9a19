"""A dump restored into a new cluster while the store went on: the fence, the feed, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.postgres.adoption import PostgresAdoption
from service.adapters.postgres.embedded import embedded_postgres
from service.adapters.postgres.feed import PostgresFeed
from service.adapters.postgres.holds import PostgresHolds
from service.application.findings import Kind
from service.domain.blob import Sha256
from service.domain.errors import BehindFence, NotFound
from service.domain.health import Health
from service.domain.hold import HoldKind
from service.domain.hold_decision import PlaceHold, decide_place
from service.ports.adoption import Adopted, Stray
from service.ports.blobs import HoldingJudge
from service.ports.feed import EventFilter
from tests.parts.blobs import get, keys
from tests.parts.buckets import emptied_bucket, opened
from tests.parts.collecting import MOMENT, QUARANTINE, Store, Yard, opened_yard
from tests.parts.dumps import dump, restore
from tests.parts.ledgers import (
    ACTOR,
    LEASE,
    attach,
    book,
    hash_of,
    opened_database,
    postgres_ledger,
    purge,
    release_ref,
)
from tests.parts.postgres import PostgresServer
from tests.parts.repairing import AT_ONCE, Workshop, kinds

pytestmark = pytest.mark.anyio

SLACK = timedelta(minutes=1)
"""For what the test itself takes: the clock goes on meanwhile."""

LATER = [f"later {number}" for number in range(5)]


@pytest.fixture(params=["filesystem", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "filesystem":
        made = FilesystemStorage(tmp_path / "store")
        await made.aopen()
        yield made
    else:
        async with opened(await emptied_bucket(request.getfixturevalue("seaweed")), tmp_path / "spool") as bucket:
            yield bucket


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Another cluster, whose transactions are counted anew."""
    with embedded_postgres(tmp_path_factory.mktemp("other")) as dsn:
        yield PostgresServer(dsn, "restored", is_ours=True)


@pytest.fixture
def new_url(other: PostgresServer) -> Iterator[str]:
    """An empty database of that cluster."""
    with other.database() as dsn:
        yield dsn


@dataclass
class Past:
    """What the first database had come to: its workspace, the dump, where a consumer stood, what its refs showed."""

    shop: Workshop
    workspace: str
    dumped: bytes = b""
    cursors: list[str] = field(default_factory=list)
    shown: dict[Sha256, bytes] = field(default_factory=dict)


@asynccontextmanager
async def at(dsn: str, store: Store, folder: Path) -> AsyncIterator[Workshop]:
    """A workshop on a database that holds something already."""
    async with opened_database(dsn, 6) as database:
        yield Workshop(Yard(database, store, postgres_ledger(database)), folder)


async def cursor_of(shop: Workshop, workspace: str, after: str | None = None) -> tuple[list[str], str]:
    """The events that a consumer reads from there, and where it stands then."""
    page = await PostgresFeed(shop.yard.database).page(workspace, after, 500, EventFilter())
    assert page.caught_up
    return [event.cursor for event in page.events], page.next_cursor


@pytest.fixture
async def past(fresh_url: str, store: Store, tmp_path: Path) -> AsyncIterator[Past]:
    """A database that was dumped and went on: bytes went, bytes came, bytes went and came again."""
    async with (
        opened_database(fresh_url, 6) as database,
        opened_yard(database, store, postgres_ledger(database)) as yard,
    ):
        shop = Workshop(yard, tmp_path / "store")
        past = Past(shop, await yard.ledger.workspace())
        await yard.collect()
        for number, text in enumerate(["kept", "goes", "comes again", *(f"more {number}" for number in range(5))]):
            sha256 = await yard.upload(past.workspace, text.encode())
            past.shown[sha256] = text.encode()
            await yard.ledger.attach(attach(book(past.workspace, number), "cover", sha256, 0))
        past.cursors.append((await cursor_of(shop, past.workspace))[1])
        past.dumped = dump(fresh_url)
        await _go_on(past)
        past.cursors.append((await cursor_of(shop, past.workspace))[1])
        yield past


async def _go_on(past: Past) -> None:
    ledger, yard = past.shop.yard.ledger, past.shop.yard
    for number in (1, 2):
        [row] = await yard.database.fetch("SELECT id FROM refs WHERE entity_id = $1", str(number))
        await ledger.change(release_ref(past.workspace, row["id"]))
        await ledger.change(purge(past.workspace, row["id"]))
    for text in ("goes", "comes again"):
        await ledger.blobs.release(past.workspace, hash_of(text), ACTOR)
    await yard.collect()
    await yard.upload(past.workspace, b"comes again")
    await yard.database.fetch("UPDATE objects SET delete_after = refkeep_now() WHERE state = 'condemned'")
    await yard.collect()
    for text in LATER:
        await yard.upload(past.workspace, text.encode())
    await ledger.attach(attach(book(past.workspace, 50), "cover", hash_of(LATER[0]), 0))


async def test_a_restored_database_stops_at_the_fence_until_what_the_store_has_is_adopted(
    past: Past, store: Store, new_url: str, tmp_path: Path
) -> None:
    before = await keys(store)
    contents = {key: await get(store, key) for key in before}
    restore(new_url, past.dumped)
    async with at(new_url, store, tmp_path / "store") as shop:
        await _stands_still(shop, before)
        dry = await shop.adopt(dry_run=True)
        assert (kinds(dry), dry.is_well) == ({Kind.MISSING: 2, Kind.ADOPTED: 6}, False)
        await _stands_still(shop, before)
        report = await shop.adopt()
        assert kinds(report) == {Kind.MISSING: 2, Kind.ADOPTED: 5, Kind.HEALED: 1}
        assert {key: await get(store, key) for key in await keys(store)} == contents, "nothing was lost"
        await _every_ref_is_right_or_marked(past, shop)
        await _nothing_goes_for_the_length_of_a_lease(shop, before)
        assert kinds(await shop.fsck()) == {Kind.MISSING: 1}
    with pytest.raises(BehindFence, match="earlier time"):
        await past.shop.yard.collect()


async def _stands_still(shop: Workshop, before: list[str]) -> None:
    for run in (shop.yard.collector(), shop.fsck, shop.scrub):
        with pytest.raises(BehindFence, match="refkeep fsck --adopt"):
            await run()
    assert await keys(shop.store) == before


async def _every_ref_is_right_or_marked(past: Past, shop: Workshop) -> None:
    rows = await shop.yard.database.fetch(
        "SELECT b.sha256, b.health, o.key FROM refs r JOIN blobs b ON b.id = r.blob_id "
        "JOIN objects o ON o.id = b.object_id"
    )
    assert {Sha256(row["sha256"].hex()) for row in rows} == set(past.shown)
    for row in rows:
        sha256 = Sha256(row["sha256"].hex())
        if sha256 == hash_of("goes"):
            assert row["health"] == "missing"
        else:
            assert (row["health"], await get(shop.store, row["key"])) == ("ok", past.shown[sha256])
    told = await shop.told(past.workspace)
    assert sorted(told) == sorted(
        [
            (Health.MISSING, hash_of("goes")),
            (Health.MISSING, hash_of("comes again")),
            (Health.OK, hash_of("comes again")),
        ]
    )


async def _nothing_goes_for_the_length_of_a_lease(shop: Workshop, before: list[str]) -> None:
    await shop.yard.collect()
    await shop.yard.advance(LEASE - SLACK)
    await shop.yard.collect()
    assert await keys(shop.store) == before
    assert all([await shop.yard.readable(hash_of(text)) for text in LATER])
    await shop.yard.advance(SLACK + MOMENT)
    await shop.yard.collect()
    await shop.yard.advance(QUARANTINE + MOMENT)
    await shop.yard.collect()
    left = {key[6:70] for key in await keys(shop.store)}
    assert not left & {hash_of(text) for text in LATER}, "nobody came for them"
    assert hash_of("kept") in left
    assert hash_of("comes again") in left
    assert [flaw for flaw in await shop.yard.flaws() if hash_of("goes") not in flaw] == []


async def test_the_feed_goes_on_in_a_new_epoch_for_every_cursor_of_the_past(
    past: Past, store: Store, new_url: str, tmp_path: Path
) -> None:
    restore(new_url, past.dumped)
    async with at(new_url, store, tmp_path / "store") as shop:
        for cursor in past.cursors:
            assert (await cursor_of(shop, past.workspace, cursor))[0] == []
        await shop.adopt()
        sha256 = await shop.yard.upload(past.workspace, b"after the restore")
        everything, _ = await cursor_of(shop, past.workspace)
        news = await shop.yard.database.fetch("SELECT epoch FROM events WHERE sha256 = $1", bytes.fromhex(sha256))
        assert [row["epoch"] for row in news] == [2]
        for cursor in past.cursors:
            events, after = await cursor_of(shop, past.workspace, cursor)
            assert events == everything[-len(events) :]
            assert len(events) == 4, "two marks, one healed, one upload"
            assert (await cursor_of(shop, past.workspace, after))[0] == []
        assert everything == sorted(set(everything))
        flaws = await shop.yard.flaws()
        assert [flaw for flaw in flaws if hash_of("goes") not in flaw] == []


async def test_a_workspace_can_be_given_what_comes_back_as_far_as_its_quota_goes(
    past: Past, store: Store, new_url: str, tmp_path: Path
) -> None:
    restore(new_url, past.dumped)
    async with at(new_url, store, tmp_path / "store") as shop:
        ledger = shop.yard.ledger
        with pytest.raises(NotFound):
            await shop.adopt("nobody")
        await ledger.workspaces.put("finder", None, 3)
        command = PlaceHold(hash_of(LATER[0]), HoldKind.LEGAL, "Order 4711", ACTOR)
        holds = PostgresHolds(shop.yard.database)
        await holds.change(command.sha256, lambda state: decide_place(state, command))
        await shop.adopt("finder")
        held = [text for text in LATER if await ledger.blobs.find("finder", hash_of(text)) is not None]
        assert len(held) == 3
        assert LATER[0] not in held, "a hold keeps bytes from being taken"
        await ledger.attach(attach(book("finder"), "cover", hash_of(held[0]), 0))
        await shop.yard.advance(LEASE + MOMENT)
        await shop.yard.collect()
        await shop.yard.advance(QUARANTINE + MOMENT)
        await shop.yard.collect()
        assert await shop.yard.readable(hash_of(held[0]))
        assert await shop.yard.readable(hash_of(LATER[0])), "on hold"
        assert not await shop.yard.readable(hash_of(held[1]))
        assert [flaw for flaw in await shop.yard.flaws() if hash_of("goes") not in flaw] == []


async def test_what_is_not_what_its_key_says_is_not_adopted(
    past: Past, store: Store, new_url: str, tmp_path: Path
) -> None:
    foreign = await past.shop.stray(b"something")
    await past.shop.overwrite(foreign, b"something else")
    spare = await past.shop.stray(b"kept")
    restore(new_url, past.dumped)
    async with at(new_url, store, tmp_path / "store") as shop:
        report = await shop.adopt()
        assert (report.counts[Kind.FOREIGN], report.counts[Kind.SPARE]) == (1, 1)
        again = await shop.adopt()
        assert kinds(again) == {Kind.MISSING: 1, Kind.FOREIGN: 1, Kind.SPARE: 1}
        assert {foreign, spare} < set(await keys(store))
        assert kinds(await shop.fsck(AT_ONCE)) == {Kind.MISSING: 1, Kind.GARBAGE: 2}
        assert not {foreign, spare} & set(await keys(store))


async def test_two_adoptions_at_once_adopt_everything_once(
    past: Past, store: Store, new_url: str, tmp_path: Path
) -> None:
    restore(new_url, past.dumped)
    async with at(new_url, store, tmp_path / "store") as shop:
        twice = _Twice(PostgresAdoption(shop.yard.database))
        assert kinds(await shop.adopt(adoption=twice)) == {Kind.MISSING: 2}, "the other one told of them"
        assert kinds(await shop.adopt()) == {Kind.MISSING: 1}
        assert [flaw for flaw in await shop.yard.flaws() if hash_of("goes") not in flaw] == []


@dataclass
class _Twice:
    """Somebody else is faster, each time."""

    adoption: PostgresAdoption

    async def adopt(self, stray: Stray, workspace: str | None, judge: HoldingJudge, keep_for: timedelta) -> Adopted:
        await self.adoption.adopt(stray, workspace, judge, keep_for)
        return await self.adoption.adopt(stray, workspace, judge, keep_for)


async def test_an_earlier_state_in_the_same_place_is_behind_what_was_removed_since(past: Past, store: Store) -> None:
    """A disk's snapshot, or recovery to a point in time: the same cluster and tables, an older generation."""
    shop = past.shop
    [row] = await shop.yard.database.fetch("SELECT generation FROM sentinel")
    sha256 = await shop.yard.upload(past.workspace, b"short-lived")
    await shop.yard.ledger.blobs.release(past.workspace, sha256, ACTOR)
    await shop.yard.collect()
    await shop.yard.database.fetch("UPDATE objects SET delete_after = refkeep_now() WHERE state = 'condemned'")
    await shop.yard.collect()
    await shop.yard.database.fetch("UPDATE sentinel SET generation = $1", row["generation"])
    with pytest.raises(BehindFence, match=f"generation {row['generation']}, its store to {row['generation'] + 1}"):
        await shop.yard.collect()
    await shop.adopt()
    await shop.yard.collect()


async def test_the_fence_is_raised_every_minute_though_nothing_goes(past: Past) -> None:
    async def generation() -> int:
        return await past.shop.guard().generation() or 0

    first = await generation()
    await past.shop.yard.collect()
    assert await generation() == first
    await past.shop.yard.advance(timedelta(minutes=1) + MOMENT)
    await past.shop.yard.collect()
    assert await generation() == first + 1


@pytest.mark.parametrize("text", [b"many", b"-1", b"1" * 40, b""])
async def test_a_fence_that_nobody_can_read_stops_as_well(past: Past, store: Store, text: bytes) -> None:
    await store.write_note("fence", text)
    if not text:
        await past.shop.yard.collect()
        return
    with pytest.raises(BehindFence, match="cannot be read"):
        await past.shop.yard.collect()
    await past.shop.adopt()
    await past.shop.yard.collect()


async def test_a_dump_restored_beside_its_original_is_behind_as_well(
    past: Past, store: Store, empty_url: str, tmp_path: Path
) -> None:
    """The same cluster, another database."""
    restore(empty_url, past.dumped)
    async with at(empty_url, store, tmp_path / "store") as shop:
        with pytest.raises(BehindFence, match="restored from a dump"):
            await shop.yard.collect()
        assert [row["epoch"] for row in await shop.yard.database.fetch("SELECT epoch FROM epochs ORDER BY 1")] == [
            1,
            2,
        ]
