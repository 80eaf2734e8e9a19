"""The contract of `service.ports.objects`, sentence by sentence, for every adapter."""

from __future__ import annotations

from datetime import timedelta

import pytest

from service.adapters.keys import is_key
from tests.parts.ledgers import IMAGE, UPLOAD, Ledger, holding_judge, new_hash

pytestmark = pytest.mark.anyio


async def test_a_reservation_is_a_pending_object_under_a_key_of_its_hash(ledger: Ledger) -> None:
    sha256 = new_hash()
    reservation = await ledger.objects.reserve(sha256, 12, UPLOAD)
    assert (reservation.sha256, reservation.size) == (sha256, 12)
    assert is_key(reservation.key)
    assert reservation.key.startswith(f"{sha256[:2]}/{sha256[2:4]}/{sha256}.")
    assert (await ledger.object_states())[reservation.key] == "pending"


async def test_no_key_is_reserved_twice(ledger: Ledger) -> None:
    sha256 = new_hash()
    reservations = [await ledger.objects.reserve(sha256, 12, UPLOAD) for _ in range(20)]
    assert len({reservation.key for reservation in reservations}) == 20
    assert len({reservation.object_id for reservation in reservations}) == 20


async def test_a_pending_object_can_be_condemned_once(ledger: Ledger) -> None:
    reservation = await ledger.objects.reserve(new_hash(), 12, UPLOAD)
    assert await ledger.objects.condemn(reservation) is True
    assert await ledger.objects.condemn(reservation) is False
    assert (await ledger.object_states())[reservation.key] == "condemned"


async def test_a_live_object_is_neither_condemned_nor_forgotten(ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    reservation = await ledger.objects.reserve(sha256, 12, UPLOAD)
    await ledger.blobs.publish(workspace, reservation, IMAGE, holding_judge(workspace, sha256, 12))
    assert await ledger.objects.condemn(reservation) is False
    await ledger.objects.forget(reservation)
    assert (await ledger.object_states())[reservation.key] == "live"


async def test_a_pending_object_is_not_forgotten(ledger: Ledger) -> None:
    reservation = await ledger.objects.reserve(new_hash(), 12, timedelta(seconds=1))
    await ledger.objects.forget(reservation)
    assert (await ledger.object_states())[reservation.key] == "pending"


async def test_a_condemned_object_is_forgotten_as_often_as_one_likes(ledger: Ledger) -> None:
    reservation = await ledger.objects.reserve(new_hash(), 12, UPLOAD)
    await ledger.objects.condemn(reservation)
    for _ in range(3):
        await ledger.objects.forget(reservation)
    assert reservation.key not in await ledger.object_states()
    assert await ledger.objects.condemn(reservation) is False
