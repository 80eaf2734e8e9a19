"""Decisions: what becomes of an attach, a release, bytes that arrived, and a question about them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.domain.blob import Blob, MediaInfo
from service.domain.decision import (
    Attach,
    Decision,
    Expectation,
    Release,
    RoleState,
    decide_attach,
    decide_release,
    reject,
)
from service.domain.errors import PreconditionRequired, QuotaExceeded, RefkeepError, VersionConflict
from service.domain.event import Actor, DecisionKind, EntityState, EventType, RefEvent, evolve
from service.domain.holding_decision import HoldingState, decide_arrival, decide_grant, decide_renewal, standing_look
from service.domain.policy import Cardinality, Policies, Policy, Visibility
from service.domain.ref import Holding, Labels, Ref, RefState
from service.domain.slot import EntityKey
from tests.parts.ledgers import hash_of

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
TRASH, LEASE = timedelta(days=30), timedelta(days=7)
BOOK = EntityKey("demo", "book", "42")
ACTOR = Actor("someone", "00-trace")
OLD, NEW = hash_of("old"), hash_of("new")
PICTURE = MediaInfo("image/png", 640, 480, 1, None, readable=True)
POLICIES = Policies(
    (
        Policy("book", "cover", Cardinality.SINGLE, Visibility.PUBLIC),
        Policy("book", "pages", Cardinality.LIST, Visibility.PRIVATE, max_items=3, media_types=("image/*",)),
        Policy("book", "notes", Cardinality.LIST, Visibility.PRIVATE, public_allowed=False),
    )
)
HOLDING = Holding("demo", OLD, 7, NOW - timedelta(days=1), NOW + timedelta(days=6))


def occupant(role: str = "cover", position: int = 0) -> Ref:
    """What the slot holds before."""
    labels = Labels("old.png", "Old", "me")
    return Ref(UUID(int=1), BOOK, role, position, RefState.LIVE, Visibility.PUBLIC, OLD, labels, NOW - TRASH)


def state_of(role: str = "cover", count: int = 0, *, taken: int | None = None, blob: str | None = NEW) -> RoleState:
    """A role with `count` refs, asked at a place that is taken or not, for a blob that is held or not."""
    held = None if blob is None else Blob(hash_of("x") if blob == "" else blob, 100, PICTURE, NOW)  # type: ignore[arg-type]
    return RoleState(NOW, 5, count, None if taken is None else occupant(role, taken), held)


def command(role: str = "cover", position: int | None = 0, **changes: Any) -> Attach:
    """A PUT, or a POST without a position."""
    made = Attach(BOOK, role, position, position is None, NEW, Labels(), None, UUID(int=2), ACTOR)
    return replace(made, **changes)


def seen(*versions: int) -> Expectation:
    """If-Match."""
    return Expectation(frozenset(versions))


def judged(state: RoleState, asked: Attach) -> Decision:
    """The decision."""
    return decide_attach(state, asked, POLICIES, TRASH)


def code_of(decision: Decision) -> str | None:
    """The code of a refusal, which its event tells too."""
    code = None if decision.error is None else decision.error.code
    assert (None if decision.event is None else decision.event.code) == code
    return code


# --- attach -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "asked", "position"),
    [
        (state_of(), command(), 0),
        (state_of(), command(position=None), 0),
        (state_of("pages", 2), command("pages", None), 2),
        (state_of("pages", 2), command("pages", 2), 2),
        (state_of("pages", 2, taken=1), command("pages", 1, shift=True, expectation=seen(5)), 1),
        (state_of("pages", 2), command("pages", 2, shift=True, expectation=seen(4, 5)), 2),
    ],
    ids=["PUT single", "POST single", "append", "PUT at the end", "insert", "insert at the end"],
)
def test_an_insert_makes_a_ref_at_its_place(state: RoleState, asked: Attach, position: int) -> None:
    decision = judged(state, asked)
    assert decision.kind is DecisionKind.INSERT
    assert decision.ref is not None
    assert decision.event is not None
    assert (decision.ref.position, decision.ref.ref_id, decision.ref.created_at) == (position, asked.ref_id, NOW)
    assert (decision.ref.state, decision.ref.trashed_at, decision.ref.purge_after) == (RefState.LIVE, None, None)
    assert (decision.event.type, decision.event.version) == (EventType.REF_INSERTED, 6)
    assert (decision.event.actor, decision.event.sha256, decision.event.ref) == (ACTOR, NEW, decision.ref)
    assert decision.replaced is None


@pytest.mark.parametrize(("role", "expectation"), [("cover", Expectation()), ("cover", seen(5)), ("pages", seen(5))])
def test_a_put_of_other_bytes_replaces(role: str, expectation: Expectation) -> None:
    decision = judged(state_of(role, 1, taken=0), command(role, expectation=expectation))
    assert decision.kind is DecisionKind.REPLACE
    assert decision.ref is not None
    assert decision.replaced is not None
    assert decision.event is not None
    assert (decision.ref.position, decision.ref.sha256) == (0, NEW)
    old = decision.replaced
    assert (old.state, old.position, old.former_position) == (RefState.TRASHED, None, 0)
    assert (old.trashed_at, old.purge_after) == (NOW, NOW + TRASH)
    assert (decision.event.type, decision.event.replaced) == (EventType.REF_REPLACED, old)


@pytest.mark.parametrize("role", ["cover", "pages"])
def test_the_same_bytes_and_words_are_a_noop_that_asks_for_no_version(role: str) -> None:
    state = state_of(role, 1, taken=0, blob=OLD)
    for labels in (Labels(), occupant().labels, Labels(alt="Old")):
        decision = judged(state, command(role, sha256=OLD, labels=labels))
        assert decision == Decision(DecisionKind.NOOP, ref=occupant(role))


@pytest.mark.parametrize(
    ("labels", "visibility", "expected"),
    [
        (Labels(alt="New"), None, Labels("old.png", "New", "me")),
        (Labels("new.png", None, ""), None, Labels("new.png", "Old", "")),
        (Labels(), Visibility.PRIVATE, Labels("old.png", "Old", "me")),
    ],
)
def test_other_words_for_the_same_bytes_are_an_update(
    labels: Labels, visibility: Visibility | None, expected: Labels
) -> None:
    asked = command(sha256=OLD, labels=labels, visibility=visibility)
    decision = judged(state_of(count=1, taken=0, blob=OLD), asked)
    assert decision.kind is DecisionKind.UPDATE
    assert decision.ref is not None
    assert decision.event is not None
    assert (decision.ref.labels, decision.ref.ref_id) == (expected, occupant().ref_id)
    assert decision.ref.visibility is (visibility or Visibility.PUBLIC)
    assert (decision.event.type, decision.event.version) == (EventType.REF_UPDATED, 6)


@pytest.mark.parametrize(
    ("state", "asked", "code"),
    [
        (state_of(), command("back"), "policy-unknown"),
        (state_of(blob=None), command(), "blob-not-held"),
        (state_of(count=1), command(position=1), "position-out-of-range"),
        (state_of(), command(position=1), "position-out-of-range"),
        (state_of("pages", 1), command("pages", 2), "position-out-of-range"),
        (state_of("pages", 1), command("pages", 2, shift=True), "position-out-of-range"),
        (state_of(count=1), command(position=None), "role-full"),
        (state_of(count=1, taken=0), command(shift=True), "role-full"),
        (state_of("pages", 3), command("pages", None), "role-full"),
        (state_of("pages", 3), command("pages", 3), "role-full"),
        (state_of("notes", 0), command("notes", None, visibility=Visibility.PUBLIC), "visibility-not-allowed"),
    ],
)
def test_a_rule_that_refuses_is_a_decision_with_its_error(state: RoleState, asked: Attach, code: str) -> None:
    decision = judged(state, asked)
    assert decision.kind is DecisionKind.REJECT
    assert code_of(decision) == code
    assert (decision.ref, decision.replaced) == (None, None)
    assert decision.event is not None
    assert (decision.event.version, decision.event.sha256) == (state.version, asked.sha256)


def test_a_blob_that_the_policy_refuses_is_refused_before_its_place_is_looked_at() -> None:
    text = Blob(NEW, 1, MediaInfo("text/plain"), NOW)
    decision = judged(replace(state_of("pages", 3), blob=text), command("pages", 9))
    assert code_of(decision) == "media-type-not-allowed"


def test_a_full_list_still_takes_a_replacement() -> None:
    decision = judged(state_of("pages", 3, taken=2), command("pages", 2, expectation=seen(5)))
    assert decision.kind is DecisionKind.REPLACE


@pytest.mark.parametrize(
    ("state", "asked"),
    [
        (state_of("pages", 1, taken=0), command("pages", 0)),
        (state_of("pages", 1, taken=0), command("pages", 0, shift=True)),
        (state_of("pages", 1), command("pages", 1, shift=True)),
    ],
    ids=["replace", "insert", "insert at the end"],
)
def test_a_place_in_a_list_demands_the_version_that_was_seen(state: RoleState, asked: Attach) -> None:
    with pytest.raises(PreconditionRequired) as demanded:
        judged(state, asked)
    assert demanded.value.members() == {"version": 5}


@pytest.mark.parametrize("versions", [[], [4], [4, 6], [0]])
def test_another_version_than_the_one_seen_is_a_conflict_and_no_event(versions: list[int]) -> None:
    for asked in (command(expectation=seen(*versions)), command("pages", None, expectation=seen(*versions))):
        with pytest.raises(VersionConflict) as conflict:
            judged(state_of(asked.role), asked)
        assert conflict.value.members() == {"version": 5}


def test_a_slot_that_should_be_empty_and_is_not_is_a_conflict() -> None:
    asked = command(expectation=Expectation(empty_slot=True))
    assert judged(state_of(), asked).kind is DecisionKind.INSERT
    with pytest.raises(VersionConflict):
        judged(state_of(count=1, taken=0), asked)


def test_a_ref_has_the_policys_visibility_unless_its_writer_asks_for_another() -> None:
    cover, note = judged(state_of(), command()), judged(state_of("notes"), command("notes", None))
    asked = judged(state_of(), command(visibility=Visibility.PRIVATE))
    assert [made.ref and made.ref.visibility for made in (cover, note, asked)] == ["public", "private", "private"]


def test_a_refusal_without_a_name_is_recorded_without_one() -> None:
    decision = reject(state_of(), BOOK, "cover", ACTOR, QuotaExceeded())
    assert decision.event is not None
    assert (decision.event.sha256, code_of(decision)) == (None, "quota-exceeded")


# --- release ----------------------------------------------------------------------------------------------------------


def test_a_release_of_an_empty_slot_is_a_noop_whatever_was_expected() -> None:
    for expectation in (Expectation(), seen(1), seen(5)):
        asked = Release(BOOK, "pages", 0, ACTOR, expectation)
        assert decide_release(state_of("pages"), asked, POLICIES, TRASH) == Decision(DecisionKind.NOOP)


@pytest.mark.parametrize(
    ("role", "expectation"), [("cover", Expectation()), ("cover", seen(5)), ("pages", seen(5)), ("gone", seen(5))]
)
def test_a_release_sends_the_ref_to_the_trash(role: str, expectation: Expectation) -> None:
    asked = Release(BOOK, role, 0, ACTOR, expectation)
    decision = decide_release(state_of(role, 1, taken=0), asked, POLICIES, TRASH)
    assert decision.kind is DecisionKind.RELEASE
    assert decision.ref is not None
    assert decision.event is not None
    assert (decision.ref.state, decision.ref.position, decision.ref.former_position) == (RefState.TRASHED, None, 0)
    assert decision.ref.purge_after == NOW + TRASH
    assert (decision.event.type, decision.event.version, decision.event.sha256) == (EventType.REF_RELEASED, 6, OLD)


@pytest.mark.parametrize("role", ["pages", "gone"])
def test_a_release_by_position_demands_a_version_unless_the_role_is_single(role: str) -> None:
    with pytest.raises(PreconditionRequired):
        decide_release(state_of(role, 1, taken=0), Release(BOOK, role, 0, ACTOR), POLICIES, TRASH)


@pytest.mark.parametrize("role", ["cover", "pages"])
def test_a_release_at_another_version_is_a_conflict(role: str) -> None:
    with pytest.raises(VersionConflict):
        decide_release(state_of(role, 1, taken=0), Release(BOOK, role, 0, ACTOR, seen(4)), POLICIES, TRASH)


# --- holdings ---------------------------------------------------------------------------------------------------------


def test_bytes_that_arrive_are_a_holding() -> None:
    event = decide_arrival(HoldingState(NOW, None), "demo", NEW, 9, LEASE, ACTOR)
    assert (event.type, event.decision, event.time) == (EventType.HOLDING_ACQUIRED, DecisionKind.INSERT, NOW)
    assert event.holding == Holding("demo", NEW, 9, NOW, NOW + LEASE)


@pytest.mark.parametrize(("lease", "until"), [(LEASE, NOW + LEASE), (timedelta(hours=1), HOLDING.lease_until)])
def test_bytes_that_arrive_again_renew_the_lease_and_never_shorten_it(lease: timedelta, until: datetime) -> None:
    event = decide_arrival(HoldingState(NOW, HOLDING), "demo", OLD, 7, lease, ACTOR)
    assert event.decision is DecisionKind.DUPLICATE
    assert event.holding == replace(HOLDING, lease_until=until)


def test_a_question_about_bytes_that_are_not_held_has_no_event() -> None:
    assert decide_renewal(HoldingState(NOW, None), LEASE, ACTOR, always=True) is None


@pytest.mark.parametrize(
    ("age", "always", "renewed"),
    [
        (timedelta(0), False, False),
        (LEASE / 100 - timedelta(milliseconds=1), False, False),
        (LEASE / 100, False, True),
        (LEASE, False, True),
        (timedelta(0), True, True),
    ],
)
def test_a_question_renews_a_lease_that_grows_by_a_hundredth(age: timedelta, *, always: bool, renewed: bool) -> None:
    held = replace(HOLDING, lease_until=NOW - age + LEASE)
    event = decide_renewal(HoldingState(NOW, held), LEASE, ACTOR, always=always)
    assert (event is not None) is renewed
    assert event is None or event.holding.lease_until == NOW + LEASE


def test_a_grant_needs_a_blob() -> None:
    assert decide_grant(HoldingState(NOW, None), "demo", NEW, LEASE, ACTOR) is None
    event = decide_grant(HoldingState(NOW, None, 9), "demo", NEW, LEASE, ACTOR)
    assert event == decide_arrival(HoldingState(NOW, None), "demo", NEW, 9, LEASE, ACTOR)


@pytest.mark.parametrize(
    ("known", "found", "stands"),
    [
        (None, False, "found"),
        (None, True, "found"),
        (True, False, "known"),
        (True, True, "found"),
        (False, False, "found"),
        (False, True, "found"),
    ],
)
def test_the_latest_look_stands_unless_it_failed_where_an_earlier_one_did_not(
    *, known: bool | None, found: bool, stands: str
) -> None:
    earlier = None if known is None else MediaInfo("image/png", 1, 1, readable=known)
    later = MediaInfo("image/png", 2, 2, readable=found)
    assert standing_look(earlier, later) == {"known": earlier, "found": later}[stands]


# --- all of it --------------------------------------------------------------------------------------------------------


@st.composite
def attaches(draw: st.DrawFn) -> Attach:
    """Any attach that a caller can ask for."""
    position = draw(st.none() | st.integers(0, 4))
    return Attach(
        BOOK,
        draw(st.sampled_from(["cover", "pages", "notes"])),
        position,
        position is None or draw(st.booleans()),
        draw(st.sampled_from([OLD, NEW])),
        Labels(alt=draw(st.none() | st.sampled_from(["a", "b"]))),
        draw(st.none() | st.sampled_from(Visibility)),
        draw(st.uuids()),
        ACTOR,
        draw(st.builds(Expectation, st.none() | st.frozensets(st.integers(0, 8)), st.booleans())),
    )


@given(st.lists(attaches(), max_size=12))
def test_whatever_is_asked_the_fold_of_the_decisions_is_dense_and_within_the_policy(asked: list[Attach]) -> None:
    state = EntityState()
    for each in asked:
        before, live = state, state.live.get(each.role, ())
        taken = live[each.position] if each.position is not None and each.position < len(live) else None
        blob = Blob(each.sha256, 1, PICTURE, NOW)
        try:
            decision = judged(RoleState(NOW, state.version, len(live), taken, blob), each)
        except RefkeepError:
            continue
        if decision.event is not None:
            state = evolve(state, decision.event)
        changed = decision.kind not in {DecisionKind.NOOP, DecisionKind.REJECT}
        assert state.version == before.version + changed
        assert (state == before) is not changed
        for role, refs in state.live.items():
            assert [ref.position for ref in refs] == list(range(len(refs)))
            assert len(refs) <= POLICIES.of("book", role).capacity
        if decision.ref is not None and decision.ref.position is not None:
            assert state.live[each.role][decision.ref.position] == decision.ref


@given(attaches(), st.integers(0, 4), st.integers(0, 8))
def test_a_decision_is_the_same_when_it_is_taken_again(asked: Attach, count: int, version: int) -> None:
    assume(asked.position is None or asked.position >= count or asked.shift)
    state = RoleState(NOW, version, count, None, Blob(asked.sha256, 1, PICTURE, NOW))

    def outcome() -> tuple[DecisionKind | type[RefkeepError], RefEvent | None]:
        try:
            decision = judged(state, asked)
        except RefkeepError as error:
            return type(error), None
        return decision.kind, decision.event

    assert outcome() == outcome()
