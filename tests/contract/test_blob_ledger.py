"""The contract of `service.ports.blobs`, sentence by sentence, for every adapter."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from service.domain.blob import MediaInfo, Sha256
from service.domain.errors import BlobInUse, IdempotencyKeyReuse, NotFound, QuotaExceeded, Unavailable
from service.domain.event import DecisionKind, EventType, HoldingEvent, evolve_holding
from service.domain.holding_decision import HoldingState, decide_grant, decide_renewal
from service.ports.blobs import HoldingJudge
from service.ports.idempotency import Claim, Replay
from tests.parts.ledgers import (
    ACTOR,
    IMAGE,
    LEASE,
    UPLOAD,
    Ledger,
    attach,
    blob_claim_on,
    book,
    fresh_blob,
    holding_judge,
    new_hash,
    release,
)

pytestmark = pytest.mark.anyio


def renewal(*, always: bool = True) -> HoldingJudge:
    """A question after bytes that were sent before."""

    def judge(state: HoldingState) -> HoldingEvent | None:
        return decide_renewal(state, LEASE, ACTOR, always=always)

    return judge


async def holding_events(ledger: Ledger, workspace: str) -> list[HoldingEvent]:
    """What the log says of a workspace's holdings."""
    return [event for event in await ledger.events(workspace) if isinstance(event, HoldingEvent)]


async def states_of(ledger: Ledger, sha256: Sha256) -> Counter[str]:
    """How many objects of these bytes are in each state."""
    return Counter(state for key, state in (await ledger.object_states()).items() if sha256 in key)


async def usage(ledger: Ledger, slug: str) -> tuple[int, int]:
    """Bytes and items that the workspace is charged for."""
    workspace = await ledger.workspaces.find(slug)
    assert workspace is not None
    return workspace.used_bytes, workspace.used_items


# --- publish ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "media", [IMAGE, MediaInfo("text/plain"), MediaInfo("video/mp4", 1920, 1080, None, 90_000_000_000, readable=False)]
)
async def test_published_bytes_are_a_blob_with_all_that_was_found(ledger: Ledger, media: MediaInfo) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    published = await ledger.publish(workspace, sha256, size=1234, media=media)
    outcome = fresh_blob(published.outcome)
    assert (published.object_used, outcome.decision) == (True, DecisionKind.INSERT)
    assert (outcome.blob.sha256, outcome.blob.size, outcome.blob.media) == (sha256, 1234, media)
    assert await ledger.blobs.find(workspace, sha256) == outcome.blob
    assert await states_of(ledger, sha256) == {"live": 1}


async def test_a_publication_is_one_event_from_which_the_holding_can_be_told(ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    outcome = fresh_blob((await ledger.publish(workspace, sha256, size=7)).outcome)
    [event] = await holding_events(ledger, workspace)
    assert (event.type, event.decision, event.actor) == (EventType.HOLDING_ACQUIRED, DecisionKind.INSERT, ACTOR)
    holding = evolve_holding(event)
    assert holding is not None
    assert (holding.workspace, holding.sha256, holding.size) == (workspace, sha256, 7)
    assert holding.acquired_at == event.time == outcome.blob.created_at
    assert holding.lease_until == event.time + LEASE


async def test_bytes_that_exist_already_condemn_the_spare_object(ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    await ledger.publish(workspace, sha256)
    again = await ledger.publish(workspace, sha256)
    assert (again.object_used, fresh_blob(again.outcome).decision) == (False, DecisionKind.DUPLICATE)
    assert await states_of(ledger, sha256) == {"live": 1, "condemned": 1}


async def test_a_duplicate_renews_the_lease_and_costs_nothing(ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    first = fresh_blob((await ledger.publish(workspace, sha256)).outcome)
    await ledger.advance(timedelta(days=1))
    again = fresh_blob((await ledger.publish(workspace, sha256)).outcome)
    before, after = await holding_events(ledger, workspace)
    assert after.holding.lease_until >= before.holding.lease_until + timedelta(days=1)
    assert after.holding.acquired_at == before.holding.acquired_at
    assert again.blob == first.blob
    assert await usage(ledger, workspace) == (10, 1)


async def test_a_second_workspace_gets_a_holding_of_the_same_blob_and_learns_nothing(ledger: Ledger) -> None:
    first, second, sha256 = await ledger.workspace(), await ledger.workspace(), new_hash()
    await ledger.publish(first, sha256)
    await ledger.advance(timedelta(hours=3))
    assert await ledger.blobs.find(second, sha256) is None
    published = await ledger.publish(second, sha256)
    outcome = fresh_blob(published.outcome)
    assert (published.object_used, outcome.decision) == (False, DecisionKind.INSERT)
    [event] = await holding_events(ledger, second)
    assert outcome.blob.created_at == event.time
    assert await ledger.blobs.find(second, sha256) == outcome.blob
    assert await states_of(ledger, sha256) == {"live": 1, "condemned": 1}


async def test_the_latest_look_at_the_bytes_stands_unless_it_failed(ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    await ledger.publish(workspace, sha256, media=MediaInfo("image/png", readable=False))
    mended = await ledger.publish(workspace, sha256, media=IMAGE)
    assert fresh_blob(mended.outcome).blob.media == IMAGE
    failed = await ledger.publish(workspace, sha256, media=MediaInfo("image/png", readable=False))
    assert fresh_blob(failed.outcome).blob.media == IMAGE
    found = await ledger.blobs.find(workspace, sha256)
    assert found is not None
    assert found.media == IMAGE


async def test_an_object_that_is_no_longer_pending_cannot_be_published(ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    reservation = await ledger.objects.reserve(sha256, 10, UPLOAD)
    assert await ledger.objects.condemn(reservation)
    with pytest.raises(Unavailable):
        await ledger.blobs.publish(workspace, reservation, IMAGE, holding_judge(workspace, sha256))
    await ledger.objects.forget(reservation)
    with pytest.raises(Unavailable):
        await ledger.blobs.publish(workspace, reservation, IMAGE, holding_judge(workspace, sha256))
    assert await ledger.blobs.find(workspace, sha256) is None
    assert await ledger.events(workspace) == []


async def test_a_publication_happens_once(ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    reservation = await ledger.objects.reserve(sha256, 10, UPLOAD)
    await ledger.blobs.publish(workspace, reservation, IMAGE, holding_judge(workspace, sha256))
    with pytest.raises(Unavailable):
        await ledger.blobs.publish(workspace, reservation, IMAGE, holding_judge(workspace, sha256))
    assert len(await ledger.events(workspace)) == 1


async def test_an_exception_of_the_judge_publishes_nothing(ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    reservation = await ledger.objects.reserve(sha256, 10, UPLOAD)

    def judge(state: HoldingState) -> HoldingEvent:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ledger.blobs.publish(workspace, reservation, IMAGE, judge)
    assert await states_of(ledger, sha256) == {"pending": 1}
    assert await ledger.blobs.find(workspace, sha256) is None


async def test_a_judge_without_an_opinion_of_bytes_that_arrived_is_a_defect(ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    reservation = await ledger.objects.reserve(sha256, 10, UPLOAD)
    with pytest.raises(RuntimeError):
        await ledger.blobs.publish(workspace, reservation, IMAGE, lambda _: None)
    assert await states_of(ledger, sha256) == {"pending": 1}


@pytest.mark.parametrize("call", ["find", "renew", "publish", "release"])
async def test_an_unknown_workspace_is_not_found(ledger: Ledger, call: str) -> None:
    sha256 = new_hash()
    reservation = await ledger.objects.reserve(sha256, 10, UPLOAD)
    calls = {
        "find": ledger.blobs.find("nobody", sha256),
        "renew": ledger.blobs.renew("nobody", [sha256], renewal()),
        "publish": ledger.blobs.publish("nobody", reservation, IMAGE, holding_judge("nobody", sha256)),
        "release": ledger.blobs.release("nobody", sha256, ACTOR),
    }
    wanted = calls.pop(call)
    for unwanted in calls.values():
        unwanted.close()
    with pytest.raises(NotFound):
        await wanted


# --- quota ------------------------------------------------------------------------------------------------------------


async def test_the_quota_is_exact_to_the_byte(ledger: Ledger) -> None:
    workspace = await ledger.workspace(max_bytes=100)
    await ledger.hold(workspace, size=60)
    refused = new_hash()
    with pytest.raises(QuotaExceeded):
        await ledger.publish(workspace, refused, size=41)
    assert await usage(ledger, workspace) == (60, 1)
    assert await ledger.blobs.find(workspace, refused) is None
    assert await states_of(ledger, refused) == {"pending": 1}
    assert len(await ledger.events(workspace)) == 1
    await ledger.hold(workspace, size=40)
    await ledger.hold(workspace, size=0)
    assert await usage(ledger, workspace) == (100, 3)


async def test_the_quota_counts_items_too(ledger: Ledger) -> None:
    workspace = await ledger.workspace(max_items=2)
    for _ in range(2):
        await ledger.hold(workspace)
    with pytest.raises(QuotaExceeded):
        await ledger.hold(workspace)
    assert await usage(ledger, workspace) == (20, 2)


async def test_bytes_that_others_have_cost_their_full_size(ledger: Ledger) -> None:
    first, second = await ledger.workspace(), await ledger.workspace(max_bytes=9)
    sha256 = await ledger.hold(first, size=10)
    with pytest.raises(QuotaExceeded):
        await ledger.publish(second, sha256, size=10)
    assert await usage(ledger, second) == (0, 0)
    assert await states_of(ledger, sha256) == {"live": 1, "pending": 1}


async def test_a_duplicate_is_admitted_with_no_room_left(ledger: Ledger) -> None:
    workspace = await ledger.workspace(max_bytes=10, max_items=1)
    sha256 = await ledger.hold(workspace)
    assert fresh_blob((await ledger.publish(workspace, sha256)).outcome).decision is DecisionKind.DUPLICATE


ROOM = [(59, None, False), (60, None, True), (None, 1, False), (None, 2, True)]


@pytest.mark.parametrize(("max_bytes", "max_items", "fits"), ROOM)
async def test_what_fits_is_told_before_it_comes(
    ledger: Ledger, max_bytes: int | None, max_items: int | None, *, fits: bool
) -> None:
    workspace, other = await ledger.workspace(max_bytes, max_items), await ledger.workspace()
    held, theirs = await ledger.hold(workspace, size=50), await ledger.hold(other, size=10)
    assert await ledger.blobs.fits(workspace, {held: 50}), "what is held needs no room"
    for sha256 in (theirs, new_hash()):
        assert await ledger.blobs.fits(workspace, {sha256: 10}) is fits
        assert await ledger.blobs.fits(workspace, {sha256: 10, held: 50}) is fits
    both = {theirs: 9, new_hash(): 1}
    assert await ledger.blobs.fits(workspace, both) is (fits and max_items is None), "two take more than one"
    assert not await ledger.blobs.fits(workspace, {theirs: 10, new_hash(): 1})
    assert await usage(ledger, workspace) == (50, 1)


async def test_giving_up_makes_room_even_under_a_smaller_quota(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    sha256 = await ledger.hold(workspace, size=60)
    await ledger.hold(workspace, size=50)
    await ledger.workspaces.put(workspace, 55, 1)
    await ledger.blobs.release(workspace, sha256, ACTOR)
    assert await usage(ledger, workspace) == (50, 1)


# --- renew ------------------------------------------------------------------------------------------------------------


async def test_only_held_hashes_are_renewed_and_each_has_its_event(ledger: Ledger) -> None:
    mine, theirs = await ledger.workspace(), await ledger.workspace()
    held = [await ledger.hold(mine) for _ in range(2)]
    foreign = await ledger.hold(theirs)
    renewed = await ledger.blobs.renew(mine, [*held, foreign, new_hash(), *held], renewal())
    assert set(renewed) == set(held)
    assert {fresh_blob(outcome).decision for outcome in renewed.values()} == {DecisionKind.DUPLICATE}
    assert len(await holding_events(ledger, mine)) == 4
    assert len(await holding_events(ledger, theirs)) == 1


async def test_a_renewed_lease_grows_and_never_shrinks(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    sha256 = await ledger.hold(workspace)
    await ledger.advance(timedelta(days=2))
    await ledger.blobs.renew(workspace, [sha256], renewal())
    await ledger.blobs.renew(workspace, [sha256], holding_judge_with(timedelta(hours=1)))
    leases = [event.holding.lease_until for event in await holding_events(ledger, workspace)]
    assert leases[1] >= leases[0] + timedelta(days=2)
    assert leases[2] == leases[1]


async def test_what_the_judge_leaves_as_it_is_has_no_event(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    sha256 = await ledger.hold(workspace)
    assert await ledger.blobs.renew(workspace, [sha256], renewal(always=False)) == {sha256: None}
    assert len(await holding_events(ledger, workspace)) == 1


async def test_nothing_asked_is_nothing_renewed(ledger: Ledger) -> None:
    assert await ledger.blobs.renew(await ledger.workspace(), [], renewal()) == {}


async def test_a_renewal_answers_with_the_blob_as_it_is_found(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    sha256 = await ledger.hold(workspace)
    outcome = fresh_blob((await ledger.blobs.renew(workspace, [sha256], renewal()))[sha256])
    assert outcome.blob == await ledger.blobs.find(workspace, sha256)


async def test_bytes_that_came_again_may_mend_what_was_found_in_them(ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    failed = MediaInfo("image/png", readable=False)
    await ledger.publish(workspace, sha256, media=failed)
    for seen, standing in ((failed, failed), (IMAGE, IMAGE), (failed, IMAGE)):
        renewed = await ledger.blobs.renew(workspace, [sha256], renewal(), found=seen)
        assert fresh_blob(renewed[sha256]).blob.media == standing
        found = await ledger.blobs.find(workspace, sha256)
        assert found is not None
        assert found.media == standing


# --- grant ------------------------------------------------------------------------------------------------------------


def grant_judge(workspace: str, sha256: Sha256) -> HoldingJudge:
    """An operator vouches for it."""

    def judge(state: HoldingState) -> HoldingEvent | None:
        return decide_grant(state, workspace, sha256, LEASE, ACTOR)

    return judge


async def test_a_granted_holding_is_as_good_as_one_for_bytes_that_were_sent(ledger: Ledger) -> None:
    giver, taker = await ledger.workspace(), await ledger.workspace()
    sha256 = await ledger.hold(giver, size=7)
    granted = fresh_blob(await ledger.blobs.grant(taker, sha256, grant_judge(taker, sha256)))
    assert (granted.decision, granted.blob.size) == (DecisionKind.INSERT, 7)
    assert await ledger.blobs.find(taker, sha256) == granted.blob
    assert await usage(ledger, taker) == (7, 1)
    [event] = await holding_events(ledger, taker)
    assert event.holding.acquired_at == event.time == granted.blob.created_at
    again = fresh_blob(await ledger.blobs.grant(taker, sha256, grant_judge(taker, sha256)))
    assert again.decision is DecisionKind.DUPLICATE
    assert await usage(ledger, taker) == (7, 1)
    assert await states_of(ledger, sha256) == {"live": 1}


async def test_what_nobody_sent_cannot_be_granted(ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    await ledger.objects.reserve(sha256, 10, UPLOAD)
    with pytest.raises(NotFound):
        await ledger.blobs.grant(workspace, sha256, grant_judge(workspace, sha256))
    assert await ledger.events(workspace) == []


async def test_a_grant_beyond_the_quota_changes_nothing(ledger: Ledger) -> None:
    giver, taker = await ledger.workspace(), await ledger.workspace(max_bytes=9)
    sha256 = await ledger.hold(giver, size=10)
    with pytest.raises(QuotaExceeded):
        await ledger.blobs.grant(taker, sha256, grant_judge(taker, sha256))
    assert await ledger.blobs.find(taker, sha256) is None
    assert await usage(ledger, taker) == (0, 0)
    assert await ledger.events(taker) == []


async def test_a_repeated_grant_gets_the_first_answer(ledger: Ledger) -> None:
    giver, taker, claim = await ledger.workspace(), await ledger.workspace(), blob_claim_on("a key")
    sha256 = await ledger.hold(giver)
    first = fresh_blob(await ledger.blobs.grant(taker, sha256, grant_judge(taker, sha256), claim))
    again = await ledger.blobs.grant(taker, sha256, grant_judge(taker, sha256), claim)
    assert again == Replay(claim.render(first))
    assert len(await ledger.events(taker)) == 1


# --- release ----------------------------------------------------------------------------------------------------------


async def test_a_holding_that_is_given_up_is_gone_with_its_charge(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    sha256 = await ledger.hold(workspace)
    event_id = await ledger.blobs.release(workspace, sha256, ACTOR)
    assert isinstance(event_id, str)
    assert event_id
    assert await ledger.blobs.find(workspace, sha256) is None
    assert await usage(ledger, workspace) == (0, 0)
    acquired, released = await holding_events(ledger, workspace)
    assert (released.type, released.holding) == (EventType.HOLDING_RELEASED, acquired.holding)
    assert evolve_holding(released) is None


@pytest.mark.parametrize("trashed", [False, True])
async def test_a_blob_that_refs_need_cannot_be_given_up(ledger: Ledger, *, trashed: bool) -> None:
    workspace = await ledger.workspace()
    sha256 = await ledger.hold(workspace)
    await ledger.attach(attach(book(workspace), "cover", sha256, 0))
    if trashed:
        await ledger.change(release(book(workspace), "cover", 0))
    before = await ledger.events(workspace)
    with pytest.raises(BlobInUse):
        await ledger.blobs.release(workspace, sha256, ACTOR)
    assert await ledger.events(workspace) == before
    assert await usage(ledger, workspace) == (10, 1)


async def test_refs_of_another_workspace_do_not_keep_a_holding(ledger: Ledger) -> None:
    mine, theirs = await ledger.workspace(), await ledger.workspace()
    sha256 = await ledger.hold(theirs)
    await ledger.publish(mine, sha256)
    await ledger.attach(attach(book(theirs), "cover", sha256, 0))
    await ledger.blobs.release(mine, sha256, ACTOR)
    assert await ledger.blobs.find(mine, sha256) is None
    assert await ledger.blobs.find(theirs, sha256) is not None


async def test_what_is_not_held_cannot_be_given_up(ledger: Ledger) -> None:
    mine, theirs = await ledger.workspace(), await ledger.workspace()
    foreign = await ledger.hold(theirs)
    for sha256 in (foreign, new_hash()):
        with pytest.raises(NotFound) as refused:
            await ledger.blobs.release(mine, sha256, ACTOR)
        assert sha256 not in str(refused.value)
    assert await ledger.events(mine) == []


async def test_bytes_given_up_can_be_held_again(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    sha256 = await ledger.hold(workspace)
    await ledger.blobs.release(workspace, sha256, ACTOR)
    assert fresh_blob((await ledger.publish(workspace, sha256)).outcome).decision is DecisionKind.INSERT
    assert await usage(ledger, workspace) == (10, 1)


# --- idempotency ------------------------------------------------------------------------------------------------------


async def test_a_repeated_publication_gets_the_first_answer_and_its_object_is_condemned(ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    claim = blob_claim_on("upload once")
    first = fresh_blob((await ledger.publish(workspace, sha256, claim=claim)).outcome)
    again = await ledger.publish(workspace, sha256, claim=claim)
    assert (again.outcome, again.object_used) == (Replay(claim.render(first)), False)
    assert await states_of(ledger, sha256) == {"live": 1, "condemned": 1}
    assert len(await ledger.events(workspace)) == 1


async def test_a_repeated_renewal_gets_the_first_answer(ledger: Ledger) -> None:
    workspace, claim = await ledger.workspace(), blob_claim_on("upload once")
    sha256 = await ledger.hold(workspace)
    first = (await ledger.blobs.renew(workspace, [sha256], renewal(), claim))[sha256]
    again = (await ledger.blobs.renew(workspace, [sha256], renewal(), claim))[sha256]
    assert again == Replay(claim.render(fresh_blob(first)))
    assert len(await ledger.events(workspace)) == 2


async def test_a_repeated_release_gets_the_first_answer(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    sha256 = await ledger.hold(workspace)
    claim: Claim[str] = Claim("give up once", b"the request", lambda event_id: f"gone: {event_id}".encode())
    first = await ledger.blobs.release(workspace, sha256, ACTOR, claim)
    assert isinstance(first, str)
    assert await ledger.blobs.release(workspace, sha256, ACTOR, claim) == Replay(claim.render(first))
    with pytest.raises(IdempotencyKeyReuse):
        await ledger.blobs.release(workspace, sha256, ACTOR, replace(claim, fingerprint=b"another"))


async def test_a_key_used_for_other_bytes_is_refused_and_publishes_nothing(ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    await ledger.publish(workspace, new_hash(), claim=blob_claim_on("a key", "some bytes"))
    with pytest.raises(IdempotencyKeyReuse):
        await ledger.publish(workspace, sha256, claim=blob_claim_on("a key", "other bytes"))
    assert await ledger.blobs.find(workspace, sha256) is None
    assert await states_of(ledger, sha256) == {"pending": 1}


async def test_a_refused_publication_leaves_its_key_free(ledger: Ledger) -> None:
    workspace = await ledger.workspace(max_bytes=5)
    sha256, claim = new_hash(), blob_claim_on("a key")
    with pytest.raises(QuotaExceeded):
        await ledger.publish(workspace, sha256, claim=claim)
    await ledger.workspaces.put(workspace, 10, None)
    assert fresh_blob((await ledger.publish(workspace, sha256, claim=claim)).outcome).decision is DecisionKind.INSERT


def holding_judge_with(lease: timedelta) -> HoldingJudge:
    """A renewal for another time."""

    def judge(state: HoldingState) -> HoldingEvent | None:
        return decide_renewal(state, lease, ACTOR, always=True)

    return judge
