"""Bytes that cannot be kept are neither taken in nor stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.adapters.memory.blobs import MemoryBlobs
from service.domain.blob import Sha256
from service.domain.errors import QuotaExceeded
from service.domain.event import DecisionKind
from service.ports.idempotency import Replay
from tests.parts.house import House, Sent, digest
from tests.parts.ledgers import blob_claim_on, claim_on, fresh_blob

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
FIRST, SECOND = b"1" * MIB, b"2" * MIB


@pytest.fixture
async def house(tmp_path: Path) -> House:
    """It has room for the first alone, and has it."""
    made = await House(tmp_path).open(max_bytes=MIB)
    await made.upload(made.sent(FIRST))
    return made


def body_of(content: bytes) -> Sent:
    return Sent([content[: MIB // 2], content[MIB // 2 :]])


async def test_named_bytes_without_room_are_not_read(house: House) -> None:
    body = body_of(SECOND)
    with pytest.raises(QuotaExceeded):
        await house.upload(house.upload_of(body, sha256=digest(SECOND), declared=MIB))
    assert body.read == 0


async def test_held_bytes_are_taken_again_without_room(house: House) -> None:
    again = await house.upload(house.upload_of(body_of(FIRST), sha256=digest(FIRST), declared=MIB))
    assert fresh_blob(again).decision is DecisionKind.DUPLICATE


@pytest.mark.parametrize("facts", [{}, {"declared": MIB}, {"sha256": digest(SECOND)}])
async def test_bytes_of_unknown_name_or_length_are_read_and_not_stored(
    house: House, monkeypatch: pytest.MonkeyPatch, facts: dict[str, object]
) -> None:
    body, before = body_of(SECOND), await house.states()
    monkeypatch.setattr(MemoryBlobs, "publish", None)
    with pytest.raises(QuotaExceeded):
        await house.upload(house.upload_of(body, **facts))
    assert body.read == 2
    assert await house.states() == before
    assert await house.is_sound()


async def test_few_bytes_cost_no_question(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def asked(*_: object) -> bool:
        raise AssertionError("a round trip")

    monkeypatch.setattr(MemoryBlobs, "fits", asked)
    small = SECOND[1:]
    with pytest.raises(QuotaExceeded):
        await house.upload(house.upload_of(Sent([small]), sha256=digest(small), declared=len(small)))


async def test_a_request_with_a_key_gets_its_answer_though_there_is_no_room_any_more(house: House) -> None:
    await house.ledger.workspaces.put(house.workspace, None, None)
    facts = {"sha256": digest(SECOND), "declared": MIB}
    first = fresh_blob(await house.upload(house.upload_of(body_of(SECOND), **facts), blob_claim_on("once")))
    await house.ledger.blobs.release(house.workspace, digest(SECOND), house.upload_of(body_of(SECOND)).actor)
    await house.ledger.workspaces.put(house.workspace, 1, None)
    again = await house.upload(house.upload_of(body_of(SECOND), **facts), blob_claim_on("once"))
    assert again == Replay(f"{first!r}".encode())


async def test_bytes_to_attach_are_not_read_without_room_unless_they_may_have_been(house: House) -> None:
    facts = {"sha256": digest(SECOND), "declared": MIB}
    plain, keyed = body_of(SECOND), body_of(SECOND)
    with pytest.raises(QuotaExceeded):
        await house.attach_bytes(house.upload_of(plain, **facts), house.target())
    with pytest.raises(QuotaExceeded):
        await house.attach_bytes(house.upload_of(keyed, **facts), house.target(), claim_on("once"))
    assert (plain.read, keyed.read) == (0, 2)
    assert {event.decision for event in await house.events()} == {DecisionKind.INSERT, DecisionKind.REJECT}


async def test_the_look_is_no_promise(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fits(*_: object) -> bool:
        return True

    monkeypatch.setattr(MemoryBlobs, "fits", fits)
    with pytest.raises(QuotaExceeded):
        await house.upload(house.upload_of(body_of(SECOND), sha256=Sha256(digest(SECOND)), declared=MIB))
    assert await house.is_sound()
