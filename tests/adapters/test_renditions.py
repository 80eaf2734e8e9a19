"""Renditions on a real Postgres: they belong to their parent, and come and go with it in every order."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.postgres.holds import PostgresHolds
from service.adapters.postgres.integrity import PostgresIntegrity
from service.adapters.postgres.locks import blob_lock
from service.adapters.postgres.reasons import PostgresReasons
from service.adapters.postgres.renditions import PostgresRenditions
from service.application.explain_blob import ExplainBlob
from service.domain.blob import Sha256
from service.domain.errors import NotFound, OnHold, Unavailable
from service.domain.event import Actor
from service.domain.health import Health
from service.domain.health_decision import decide_health
from service.domain.hold import HoldKind
from service.domain.hold_decision import PlaceHold, decide_place
from service.domain.rendition import Format
from service.ports.collection import Amount
from service.ports.reasons import Reason, ReasonKind
from service.ports.renditions import RenditionKey
from tests.parts.blobs import keys
from tests.parts.collecting import MOMENT, QUARANTINE, Yard, opened_yard
from tests.parts.ledgers import (
    ACTOR,
    IMAGE,
    LEASE,
    UPLOAD,
    attach,
    book,
    hash_of,
    new_hash,
    opened_database,
    postgres_ledger,
)
from tests.parts.postgres import lock_waiters, session

pytestmark = pytest.mark.anyio

THUMB, CARD = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture
async def yard(database_url: str, tmp_path: Path) -> AsyncIterator[Yard]:
    store = FilesystemStorage(tmp_path)
    await store.aopen()
    async with (
        opened_database(database_url, 8) as database,
        opened_yard(database, store, postgres_ledger(database)) as made,
    ):
        made.current = (THUMB, CARD)
        yield made


@pytest.fixture
async def parent(yard: Yard) -> Sha256:
    return await yard.upload(await yard.ledger.workspace())


def thumb_of(parent: Sha256, definition: str = THUMB, form: Format = Format.WEBP) -> RenditionKey:
    return RenditionKey(parent, definition, form)


def name_of(content: bytes) -> Sha256:
    return Sha256(hashlib.sha256(content).hexdigest())


async def hold(yard: Yard, sha256: Sha256) -> None:
    command = PlaceHold(sha256, HoldKind.LEGAL, "Order 4711", ACTOR)
    await PostgresHolds(yard.database).change(sha256, lambda state: decide_place(state, command))


async def mark(yard: Yard, sha256: Sha256, health: Health) -> None:
    integrity = PostgresIntegrity(yard.database)
    found = (await integrity.look([await yard.key_of(sha256) or ""])).values()
    for each in found:
        await integrity.mark(each, lambda state: decide_health(state, health, Actor("fsck")))


async def end_holdings(yard: Yard) -> None:
    await yard.advance(LEASE + MOMENT)
    await yard.collect()


async def test_a_rendition_is_found_under_its_key_alone_and_charged_to_nobody(yard: Yard, parent: Sha256) -> None:
    renditions = PostgresRenditions(yard.database)
    assert await renditions.find(thumb_of(parent)) is None
    published = await yard.render(thumb_of(parent), b"small")
    found = await renditions.find(thumb_of(parent))
    assert published.object_used
    assert found == published.rendition
    assert found is not None
    assert (found.content.sha256, found.content.size, found.hold) == (name_of(b"small"), 5, None)
    assert found.content.media_type == IMAGE.media_type
    assert await yard.readable(name_of(b"small"))
    others = [thumb_of(parent, CARD), thumb_of(parent, form=Format.AVIF), thumb_of(new_hash())]
    assert [await renditions.find(key) for key in others] == [None] * 3
    assert await yard.flaws() == []


async def test_a_rendition_published_twice_is_the_first_one_and_leaves_no_second_copy(
    yard: Yard, parent: Sha256
) -> None:
    first = await yard.render(thumb_of(parent), b"small")
    second = await yard.render(thumb_of(parent), b"other bytes of the same key")
    assert not second.object_used
    assert second.rendition == first.rendition
    assert len(await keys(yard.store)) == 2
    assert await yard.flaws() == []


async def test_of_many_who_publish_at_once_one_object_stays(yard: Yard, parent: Sha256) -> None:
    outcomes = await asyncio.gather(*(yard.render(thumb_of(parent), b"small") for _ in range(6)))
    assert sum(each.object_used for each in outcomes) == 1
    assert len({each.rendition.content.storage_key for each in outcomes}) == 1
    assert await yard.flaws() == []


async def test_the_parents_own_bytes_are_shown_and_not_kept_twice(yard: Yard) -> None:
    parent = await yard.upload(await yard.ledger.workspace(), b"complies")
    published = await yard.render(thumb_of(parent), b"complies")
    assert not published.object_used
    assert published.rendition.content.sha256 == parent
    await end_holdings(yard)
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert await yard.leftovers() == []


async def test_bytes_that_somebody_else_holds_become_a_rendition_and_outlive_that_holding(
    yard: Yard, parent: Sha256
) -> None:
    entity = book(await yard.ledger.workspace())
    await yard.upload(entity.workspace, b"kept")
    await yard.ledger.attach(attach(entity, "cover", name_of(b"kept"), 0))
    same = await yard.upload(await yard.ledger.workspace(), b"small")
    published = await yard.render(thumb_of(name_of(b"kept")), b"small")
    assert not published.object_used
    await end_holdings(yard)
    assert await yard.readable(same)
    assert not await yard.ledger.blobs.find(entity.workspace, same), "no workspace holds it"
    assert await yard.flaws() == []
    assert await PostgresRenditions(yard.database).find(thumb_of(parent)) is None


async def test_a_caller_who_sends_the_bytes_of_a_rendition_holds_them_like_any_others(
    yard: Yard, parent: Sha256
) -> None:
    await yard.render(thumb_of(parent), b"small")
    workspace = await yard.ledger.workspace()
    assert await yard.ledger.blobs.find(workspace, name_of(b"small")) is None
    outcome = await yard.ledger.publish(workspace, name_of(b"small"), size=5)
    assert not outcome.object_used
    entity = book(workspace)
    await yard.ledger.attach(attach(entity, "cover", name_of(b"small"), 0))
    await end_holdings(yard)
    assert await yard.readable(name_of(b"small"))
    assert await PostgresRenditions(yard.database).find(thumb_of(parent)) is None


async def test_a_rendition_goes_with_its_parent(yard: Yard, parent: Sha256) -> None:
    await yard.render(thumb_of(parent), b"small")
    await yard.render(thumb_of(parent, CARD), b"large")
    await end_holdings(yard)
    assert await PostgresRenditions(yard.database).find(thumb_of(parent)) is None
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert await keys(yard.store) == []
    assert await yard.leftovers() == []


async def test_a_rendition_stays_while_a_ref_keeps_its_parent(yard: Yard) -> None:
    entity = book(await yard.ledger.workspace())
    parent = await yard.upload(entity.workspace)
    await yard.ledger.attach(attach(entity, "cover", parent, 0))
    await yard.render(thumb_of(parent), b"small")
    await end_holdings(yard)
    assert await PostgresRenditions(yard.database).find(thumb_of(parent)) is not None
    assert await yard.leftovers() == []


async def test_blobs_that_were_made_of_each_other_do_not_keep_each_other(yard: Yard) -> None:
    workspace = await yard.ledger.workspace()
    one, other = await yard.upload(workspace, b"one"), await yard.upload(workspace, b"other")
    await yard.render(thumb_of(one), b"other")
    await yard.render(thumb_of(other), b"one")
    await end_holdings(yard)
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert await keys(yard.store) == []
    assert await yard.leftovers() == []


async def test_a_plan_tells_of_renditions_that_would_go(yard: Yard, parent: Sha256) -> None:
    entity = book(await yard.ledger.workspace())
    kept = await yard.upload(entity.workspace)
    await yard.ledger.attach(attach(entity, "cover", kept, 0))
    await yard.render(thumb_of(parent), b"goes")
    await yard.render(thumb_of(kept), b"stays")
    await yard.advance(LEASE + MOMENT)
    plan = await yard.collector().plan()
    assert (plan.release.count, plan.condemn.count) == (1, 2)
    await yard.collect()
    assert (await yard.collector().plan()).waiting.count == 2


async def test_nothing_is_made_of_a_blob_that_nobody_holds(yard: Yard, parent: Sha256) -> None:
    await end_holdings(yard)
    with pytest.raises(NotFound):
        await yard.render(thumb_of(parent), b"small")
    with pytest.raises(NotFound):
        await yard.render(thumb_of(new_hash()), b"small")
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert await keys(yard.store) == []


async def test_a_rendition_of_a_rendition_is_made_only_where_somebody_holds_it(yard: Yard, parent: Sha256) -> None:
    await yard.render(thumb_of(parent), b"small")
    with pytest.raises(NotFound):
        await yard.render(thumb_of(name_of(b"small")), b"smaller")


async def test_a_parent_that_is_collected_while_its_rendition_is_published_leaves_nothing(
    yard: Yard, parent: Sha256, database_url: str
) -> None:
    """The publication waits for the parent's lock, which whoever ends the last holding has."""
    async with session(database_url) as behind:
        transaction = behind.transaction()
        await transaction.start()
        await behind.fetch("SELECT pg_advisory_xact_lock($1)", blob_lock(parent))
        await behind.fetch("DELETE FROM holdings WHERE blob_id = (SELECT id FROM blobs WHERE sha256 = $1)", raw(parent))
        await behind.fetch("UPDATE workspaces SET used_bytes = 0, used_items = 0")
        async with anyio.create_task_group() as group:
            group.start_soon(refused, yard, parent)
            await lock_waiters(behind, 1)
            await transaction.commit()
    await yard.collect()
    await yard.advance(QUARANTINE + UPLOAD + MOMENT)
    await yard.collect()
    assert await keys(yard.store) == []
    assert await yard.leftovers() == []


async def refused(yard: Yard, parent: Sha256) -> None:
    with pytest.raises(NotFound):
        await yard.render(thumb_of(parent), b"small")


def raw(sha256: Sha256) -> bytes:
    return bytes.fromhex(sha256)


async def test_what_is_published_while_the_collector_looks_at_the_same_bytes_stays(
    yard: Yard, parent: Sha256, database_url: str
) -> None:
    """The bytes lost their last holder; before the collector comes to them, they become a rendition."""
    workspace = await yard.ledger.workspace()
    same = await yard.upload(workspace, b"small")
    await yard.ledger.blobs.release(workspace, same, ACTOR)
    async with session(database_url) as behind:
        transaction = behind.transaction()
        await transaction.start()
        await behind.fetch("SELECT pg_advisory_xact_lock($1)", blob_lock(parent))
        async with anyio.create_task_group() as group:
            group.start_soon(yard.render, thumb_of(parent), b"small")
            await lock_waiters(behind, 1)
            await yard.collector()()
            await transaction.commit()
    await yard.collect()
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert await yard.readable(same)
    assert await yard.flaws() == []


async def test_stale_renditions_go_after_a_while_and_current_ones_stay(yard: Yard) -> None:
    entity = book(await yard.ledger.workspace())
    parent = await yard.upload(entity.workspace)
    await yard.ledger.attach(attach(entity, "cover", parent, 0))
    for definition in (THUMB, CARD):
        for form in (Format.WEBP, Format.AVIF):
            await yard.render(thumb_of(parent, definition, form), f"{definition} {form}".encode())
    yard.current = (CARD,)
    await yard.collect()
    renditions = PostgresRenditions(yard.database)
    assert await renditions.find(thumb_of(parent, THUMB)) is not None, "too young"
    assert (await yard.collector().plan()).drop.count == 0, "too young"
    await yard.advance(QUARANTINE + MOMENT)
    plan = await yard.collector().plan()
    assert (plan.drop, plan.condemn, await yard.collector().drop_stale.due()) == (Amount(2, 42), Amount(2, 42), 2)
    [first, *_] = await yard.collect()
    assert (first.stale, first.reviewed.condemned) == (2, plan.condemn)
    assert await yard.collector().drop_stale.due() == 0
    assert await renditions.find(thumb_of(parent, THUMB)) is None
    assert await renditions.find(thumb_of(parent, CARD)) is not None
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert len(await keys(yard.store)) == 3
    assert await yard.leftovers() == []


async def test_stale_renditions_are_dropped_a_batch_at_a_time(yard: Yard, parent: Sha256) -> None:
    for number, definition in enumerate(("1" * 16, "2" * 16, "3" * 16)):
        await yard.render(thumb_of(parent, definition), f"{number}".encode())
    renditions = PostgresRenditions(yard.database)
    dropped = [await renditions.drop_stale(["2" * 16], -MOMENT, 1) for _ in range(3)]
    assert dropped == [1, 1, 0]
    assert await renditions.find(thumb_of(parent, "2" * 16)) is not None


async def test_one_claims_the_making_and_the_next_comes_when_that_ends(yard: Yard, parent: Sha256) -> None:
    renditions, key, minute = PostgresRenditions(yard.database), thumb_of(parent), timedelta(minutes=1)
    outcomes = await asyncio.gather(*(renditions.claim(key, minute) for _ in range(5)))
    assert sum(outcomes) == 1
    assert await renditions.claim(thumb_of(parent, CARD), minute), "another rendition is another affair"
    await yard.advance(minute + MOMENT)
    assert await renditions.claim(key, minute), "whoever had it is gone"
    await yard.advance(minute / 2)
    await renditions.prolong(key, minute)
    await yard.advance(minute / 2 + MOMENT)
    assert not await renditions.claim(key, minute), "whoever has it is at work"
    await yard.advance(minute)
    await renditions.prolong(thumb_of(parent, "3" * 16), minute)
    assert await renditions.claim(key, minute)
    await renditions.disclaim(key)
    assert await renditions.claim(key, minute)
    await yard.render(key, b"small")
    assert await renditions.claim(key, minute), "published: there is nothing to wait for"
    await yard.advance(2 * minute)
    await renditions.drop_stale([THUMB], QUARANTINE, 10)
    assert await yard.database.fetch("SELECT FROM rendition_claims") == []


async def test_a_marked_rendition_is_made_anew_and_heals(yard: Yard, parent: Sha256) -> None:
    renditions, key = PostgresRenditions(yard.database), thumb_of(parent)
    first = await yard.render(key, b"small")
    await mark(yard, name_of(b"small"), Health.CORRUPT)
    assert await renditions.find(key) is None
    again = await yard.render(key, b"small")
    assert again.object_used
    assert again.rendition.content.storage_key != first.rendition.content.storage_key
    await yard.advance(MOMENT)
    await yard.collect()
    assert await yard.readable(name_of(b"small"))
    assert await yard.flaws() == []


async def test_a_marked_rendition_that_comes_out_otherwise_gives_way(yard: Yard, parent: Sha256) -> None:
    await yard.render(thumb_of(parent), b"small")
    await mark(yard, name_of(b"small"), Health.MISSING)
    again = await yard.render(thumb_of(parent), b"made by another release")
    assert again.rendition.content.sha256 == name_of(b"made by another release")
    await yard.collect()
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert not await yard.readable(name_of(b"small"))
    assert await yard.leftovers() == []


async def test_bytes_on_hold_do_not_come_back_as_a_rendition(yard: Yard, parent: Sha256) -> None:
    await hold(yard, name_of(b"small"))
    with pytest.raises(OnHold):
        await yard.render(thumb_of(parent), b"small")
    assert await yard.flaws() == []


async def test_a_hold_of_a_rendition_is_told_and_keeps_its_bytes(yard: Yard, parent: Sha256) -> None:
    await yard.render(thumb_of(parent), b"small")
    await hold(yard, name_of(b"small"))
    found = await PostgresRenditions(yard.database).find(thumb_of(parent))
    assert found is not None
    assert found.hold == 451
    await end_holdings(yard)
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert await yard.readable(name_of(b"small"))


async def test_a_publication_past_its_lease_is_refused(yard: Yard, parent: Sha256) -> None:
    reservation = await yard.ledger.objects.reserve(hash_of("late"), 4, UPLOAD)
    assert await yard.ledger.objects.condemn(reservation)
    with pytest.raises(Unavailable):
        await PostgresRenditions(yard.database).publish(thumb_of(parent), reservation, IMAGE)


async def test_a_rendition_that_no_preset_makes_any_more_has_an_end(yard: Yard, parent: Sha256) -> None:
    await yard.render(thumb_of(parent), b"small")

    async def reason() -> Reason:
        told = await ExplainBlob(PostgresReasons(yard.database), yard.collector().drop_stale.ends)(
            name_of(b"small"), None
        )
        [only] = told.reasons
        return only

    assert (await reason()).until is None
    yard.current = (CARD,)
    stale = await reason()
    assert stale.until == stale.since + QUARANTINE


async def test_operators_see_what_a_rendition_is_of_and_workspaces_do_not(yard: Yard, parent: Sha256) -> None:
    await yard.render(thumb_of(parent), b"small")
    reasons = PostgresReasons(yard.database)
    workspace = await yard.ledger.workspace()
    assert await reasons.of_blob(name_of(b"small"), workspace) is None
    told = await reasons.of_blob(name_of(b"small"), None)
    assert told is not None
    [reason] = told.reasons
    assert (reason.kind, reason.parent, reason.workspace) == (ReasonKind.RENDITION, parent, None)
    await yard.ledger.publish(workspace, name_of(b"small"), size=5)
    own = await reasons.of_blob(name_of(b"small"), workspace)
    assert own is not None
    assert [each.kind for each in own.reasons] == [ReasonKind.HOLDING]
