"""Marked blobs on a real Postgres and real stores: who is asked for them, and what heals them."""

from __future__ import annotations

import asyncio

import pytest

from service.adapters.postgres.holds import PostgresHolds
from service.domain.errors import BlobNotHeld
from service.domain.event import DecisionKind, HoldingEvent
from service.domain.health import Health
from service.domain.hold import HoldKind
from service.domain.hold_decision import PlaceHold, decide_place
from service.domain.holding_decision import HoldingState, decide_renewal
from tests.parts.blobs import keys
from tests.parts.ledgers import (
    ACTOR,
    LEASE,
    attach,
    book,
)
from tests.parts.repairing import Workshop, filled, kinds

pytestmark = pytest.mark.anyio


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
