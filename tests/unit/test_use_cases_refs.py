"""Attaching, with bytes and without; releasing; and everything that is asked about refs and blobs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.application.confirm_holding import ConfirmHolding
from service.application.describe_blob import DescribeBlob
from service.application.find_missing import FindMissing
from service.application.get_media import GetMedia
from service.application.give_up_holding import GiveUpHolding
from service.application.grant_holding import GrantHolding
from service.application.list_refs import ListRefs
from service.application.release_slot import ReleaseSlot
from service.domain.decision import Attach
from service.domain.errors import (
    BlobInUse,
    BlobNotHeld,
    DigestMismatch,
    IdempotencyKeyReuse,
    MediaTypeMismatch,
    NotFound,
    PolicyUnknown,
    PreconditionRequired,
    QuotaExceeded,
    Rejected,
    RoleFull,
    StorageUnavailable,
    TooLarge,
    UnreadableMedia,
    VersionConflict,
)
from service.domain.event import DecisionKind, EventType, HoldingEvent, RefEvent
from service.domain.policy import Policies
from service.ports.idempotency import Replay
from tests.parts.blobs import get
from tests.parts.house import LIFETIMES, FailingStorage, House, Sent, Stepped, Steps, digest
from tests.parts.ledgers import (
    ACTOR,
    POLICIES,
    RULES,
    attach,
    blob_claim_on,
    book,
    claim_on,
    fresh,
    fresh_blob,
    new_hash,
    release,
)

pytestmark = pytest.mark.anyio

PICTURE, OTHER = b"image/png\nthe rest of it", b"image/png\nsomething else"


@pytest.fixture
async def house(tmp_path: Path) -> House:
    return await House(tmp_path).open()


def limit_cover(house: House, **limits: Any) -> None:
    """Another policy for covers."""
    cover, *others = POLICIES.items
    policies = Policies((replace(cover, **limits), *others))
    house.attach = replace(house.attach, rules=replace(RULES, policies=policies))
    house.attach_bytes = replace(house.attach_bytes, attach=house.attach)


async def codes(house: House) -> list[str | None]:
    """The refusals on record."""
    return [event.code for event in await house.events() if isinstance(event, RefEvent) and event.code]


# --- bytes with their attach ------------------------------------------------------------------------------------------


async def test_bytes_are_kept_and_attached_and_both_are_on_record(house: House) -> None:
    outcome = fresh(await house.attach_bytes(house.sent(PICTURE), house.target()))
    assert (outcome.decision, outcome.version) == (DecisionKind.INSERT, 1)
    held, attached = await house.events()
    assert isinstance(held, HoldingEvent)
    assert isinstance(attached, RefEvent)
    assert (held.holding.sha256, attached.sha256) == (digest(PICTURE), digest(PICTURE))
    [key] = await house.stored()
    assert await get(house.storage, key) == PICTURE
    assert await house.is_sound()


async def test_bytes_that_are_held_are_attached_all_the_same(house: House) -> None:
    await house.upload(house.sent(PICTURE))
    outcome = fresh(await house.attach_bytes(house.sent(PICTURE), house.target()))
    assert outcome.decision is DecisionKind.INSERT
    assert await house.states() == {"live": 1}


@pytest.mark.parametrize(
    ("content", "facts", "refusal"),
    [
        (b"image/png!\n", {}, UnreadableMedia),
        (PICTURE, {"sha256": new_hash()}, DigestMismatch),
        (PICTURE, {"media_type": "video/mp4"}, MediaTypeMismatch),
        (PICTURE, {"declared": 101}, TooLarge),
        (b"x" * 101, {}, TooLarge),
    ],
    ids=["unreadable", "digest", "claim", "announced", "streamed"],
)
async def test_bytes_that_are_refused_are_not_kept_and_the_refusal_is_recorded_once(
    house: House, content: bytes, facts: dict[str, Any], refusal: type[Rejected]
) -> None:
    limit_cover(house, max_bytes=100)
    for _ in range(2):
        with pytest.raises(refusal):
            await house.attach_bytes(house.sent(content, **facts), house.target())
    assert await codes(house) == [refusal.code]
    assert await house.is_untouched()


async def test_a_role_without_a_policy_is_refused_before_a_byte_is_read(house: House) -> None:
    body = Sent([PICTURE])
    with pytest.raises(PolicyUnknown):
        await house.attach_bytes(house.upload_of(body), house.target("unknown"))
    assert body.read == 0
    assert await codes(house) == ["policy-unknown"]
    assert await house.is_untouched()


async def test_a_full_role_refuses_bytes_before_they_are_kept(house: House) -> None:
    await house.attach_bytes(house.sent(PICTURE), house.target())
    with pytest.raises(RoleFull):
        await house.attach_bytes(house.sent(OTHER), house.target())
    assert await codes(house) == ["role-full"]
    assert len(await house.stored()) == 1


async def test_bytes_beyond_the_quota_are_not_kept_and_the_refusal_is_on_record(tmp_path: Path) -> None:
    house = await House(tmp_path).open(max_bytes=5)
    with pytest.raises(QuotaExceeded):
        await house.attach_bytes(house.sent(PICTURE), house.target())
    assert await codes(house) == ["quota-exceeded"]
    assert await house.is_untouched()


async def test_bytes_for_another_version_are_not_kept_and_leave_no_event(house: House) -> None:
    with pytest.raises(VersionConflict):
        await house.attach_bytes(house.sent(PICTURE), house.target(version=3))
    assert await house.events() == []
    assert await house.is_untouched()


async def test_a_fault_is_no_refusal_and_leaves_no_event(tmp_path: Path) -> None:
    house = await House(tmp_path, storage=FailingStorage(tmp_path, "before_put")).open()
    with pytest.raises(StorageUnavailable):
        await house.attach_bytes(house.sent(PICTURE), house.target())
    assert await house.events() == []


async def test_a_repeated_request_with_the_same_bytes_gets_the_first_answer(house: House) -> None:
    claim = claim_on("a key")
    first = fresh(await house.attach_bytes(house.sent(PICTURE), house.target("pages"), claim))
    again = await house.attach_bytes(house.sent(PICTURE), house.target("pages"), claim)
    assert again == Replay(claim.render(first))
    with pytest.raises(IdempotencyKeyReuse):
        await house.attach_bytes(house.sent(OTHER), house.target("pages"), claim)
    assert len(await house.events()) == 2
    assert len(await house.stored()) == 1


async def test_bytes_stay_for_their_lease_when_the_role_changes_under_them(house: House) -> None:
    await house.upload(house.sent(OTHER))

    class Overtaken(Steps):
        async def take(self, name: str) -> None:
            if name == "after publish":
                await house.ledger.attach(attach(book(house.workspace), "cover", digest(OTHER)))

    house.rewire(blobs=Stepped(house.ledger.blobs, Overtaken(set())))
    with pytest.raises(RoleFull):
        await house.attach_bytes(house.sent(PICTURE), house.target())
    assert await house.ledger.blobs.find(house.workspace, digest(PICTURE)) is not None
    assert await codes(house) == ["role-full"]
    assert await house.is_sound()


async def test_of_many_who_send_the_same_bytes_to_one_slot_one_inserts(house: House) -> None:
    calls = (house.attach_bytes(house.sent(PICTURE), house.target(position=0)) for _ in range(5))
    outcomes = [fresh(outcome) for outcome in await asyncio.gather(*calls)]
    assert sorted(outcome.decision for outcome in outcomes) == [DecisionKind.INSERT, *[DecisionKind.NOOP] * 4]
    assert await house.is_sound()


# --- attach and release -----------------------------------------------------------------------------------------------


async def test_a_blob_is_attached_and_released(house: House) -> None:
    sha256 = fresh_blob(await house.upload(house.sent(PICTURE))).blob.sha256
    let_go = ReleaseSlot(house.ledger.refs, RULES)
    put: Attach = attach(book(house.workspace), "cover", sha256, 0)
    made = fresh(await house.attach(put))
    gone = fresh(await let_go(release(put.entity, "cover", 0)))
    assert (made.decision, gone.decision, gone.version) == (DecisionKind.INSERT, DecisionKind.RELEASE, 2)
    assert gone.ref is not None
    assert gone.ref.ref.trashed_at is not None
    assert gone.ref.ref.purge_after == gone.ref.ref.trashed_at + LIFETIMES.trash
    assert fresh(await let_go(release(put.entity, "cover", 0))).decision is DecisionKind.NOOP


async def test_a_refused_attach_is_raised(house: House) -> None:
    with pytest.raises(BlobNotHeld):
        await house.attach(attach(book(house.workspace), "cover", new_hash(), 0))
    with pytest.raises(PreconditionRequired):
        sha256 = await house.ledger.hold(house.workspace)
        await house.attach(attach(book(house.workspace), "pages", sha256))
        await ReleaseSlot(house.ledger.refs, RULES)(release(book(house.workspace), "pages", 0))


async def test_a_repeated_attach_and_release_get_their_first_answers(house: House) -> None:
    sha256, let_go = await house.ledger.hold(house.workspace), ReleaseSlot(house.ledger.refs, RULES)
    put, gone = attach(book(house.workspace), "cover", sha256, 0), release(book(house.workspace), "cover", 0)
    first, second = await house.attach(put, claim_on("put")), await let_go(gone, claim_on("release"))
    assert await house.attach(put, claim_on("put")) == Replay(claim_on("put").render(fresh(first)))
    assert await let_go(gone, claim_on("release")) == Replay(claim_on("release").render(fresh(second)))


# --- questions --------------------------------------------------------------------------------------------------------


async def test_refs_are_listed_by_entity_and_found_by_id_in_their_workspace(house: House) -> None:
    made = fresh(await house.attach_bytes(house.sent(PICTURE), house.target("pages")))
    assert made.ref is not None
    listed = await ListRefs(house.ledger.refs)(book(house.workspace))
    assert (listed.version, listed.refs) == (1, (made.ref,))
    assert (await ListRefs(house.ledger.refs)(book(house.workspace), "cover")).refs == ()
    get_media = GetMedia(house.ledger.refs)
    assert await get_media(house.workspace, made.ref.ref.ref_id) == made.ref
    with pytest.raises(NotFound):
        await get_media("other", made.ref.ref.ref_id)


async def test_a_blob_is_described_with_its_refs_to_those_who_hold_it(house: House) -> None:
    made = fresh(await house.attach_bytes(house.sent(PICTURE), house.target("pages")))
    describe = DescribeBlob(house.ledger.blobs, house.ledger.refs)
    description = await describe(house.workspace, digest(PICTURE))
    assert description.refs == (made.ref,)
    assert description.blob.size == len(PICTURE)
    await house.ledger.workspaces.ensure("other")
    with pytest.raises(NotFound) as foreign:
        await describe("other", digest(PICTURE))
    with pytest.raises(NotFound) as unknown:
        await describe("other", new_hash())
    assert str(foreign.value) == str(unknown.value)


async def test_what_is_missing_is_told_once_each_in_the_order_asked_and_the_rest_is_renewed(house: House) -> None:
    held = await house.ledger.hold(house.workspace)
    missing = [new_hash(), new_hash()]
    await house.ledger.advance(timedelta(days=2))
    asked = [missing[1], held, missing[0], missing[1], held]
    assert await FindMissing(house.ledger.blobs, LIFETIMES)(house.workspace, asked, ACTOR) == missing[::-1]
    assert await FindMissing(house.ledger.blobs, LIFETIMES)(house.workspace, asked, ACTOR) == missing[::-1]
    assert [event.decision for event in await house.events()] == [DecisionKind.INSERT, DecisionKind.DUPLICATE]


async def test_an_upload_of_held_bytes_is_confirmed_without_them(house: House) -> None:
    confirm, claim = ConfirmHolding(house.ledger.blobs, LIFETIMES), blob_claim_on("a key")
    assert await confirm(house.workspace, new_hash(), ACTOR) is None
    held = await house.ledger.hold(house.workspace)
    assert fresh_blob(await confirm(house.workspace, held, ACTOR)).decision is DecisionKind.DUPLICATE
    first = fresh_blob(await confirm(house.workspace, held, ACTOR, claim))
    assert await confirm(house.workspace, held, ACTOR, claim) == Replay(claim.render(first))


async def test_a_confirmation_and_the_upload_itself_are_one_request(house: House) -> None:
    claim = blob_claim_on("a key")
    first = fresh_blob(await house.upload(house.sent(PICTURE), claim))
    confirmed = await ConfirmHolding(house.ledger.blobs, LIFETIMES)(house.workspace, digest(PICTURE), ACTOR, claim)
    assert confirmed == Replay(claim.render(first))


async def test_a_holding_is_given_up_unless_a_ref_needs_it(house: House) -> None:
    give_up = GiveUpHolding(house.ledger.blobs)
    held = await house.ledger.hold(house.workspace)
    await house.attach(attach(book(house.workspace), "cover", held, 0))
    with pytest.raises(BlobInUse):
        await give_up(house.workspace, held, ACTOR)
    free = await house.ledger.hold(house.workspace)
    assert await give_up(house.workspace, free, ACTOR)
    with pytest.raises(NotFound):
        await give_up(house.workspace, free, ACTOR)


async def test_an_operator_grants_what_exists(house: House) -> None:
    grant = GrantHolding(house.ledger.blobs, LIFETIMES)
    sha256 = await house.ledger.hold(house.workspace)
    await house.ledger.workspaces.ensure("other")
    decisions = [fresh_blob(await grant("other", sha256, ACTOR)).decision for _ in range(2)]
    assert decisions == [DecisionKind.INSERT, DecisionKind.DUPLICATE]
    assert {event.type for event in await house.ledger.events("other")} == {EventType.HOLDING_ACQUIRED}
    with pytest.raises(NotFound):
        await grant("other", new_hash(), ACTOR)
