"""Decisions about a ref by its id: released, changed in its words, restored, purged."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from service.domain.decision import Decision, Expectation, RoleState, rejected_again
from service.domain.errors import NotFound, VersionConflict
from service.domain.event import Actor, DecisionKind, EventType
from service.domain.lifecycle import (
    Purge,
    ReleaseRef,
    Restore,
    Revise,
    Revision,
    decide_expiry,
    decide_purge,
    decide_release_ref,
    decide_restore,
    decide_revise,
)
from service.domain.policy import Cardinality, Policies, Policy, Visibility
from service.domain.ref import Labels, Ref, RefState
from service.domain.slot import EntityKey
from tests.parts.ledgers import hash_of

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
TRASH = timedelta(days=30)
BOOK, ACTOR = EntityKey("demo", "book", "42"), Actor("someone")
POLICIES = Policies(
    (
        Policy("book", "cover", Cardinality.SINGLE, Visibility.PUBLIC),
        Policy("book", "pages", Cardinality.LIST, Visibility.PRIVATE, max_items=3),
        Policy("book", "notes", Cardinality.LIST, Visibility.PRIVATE, public_allowed=False),
    )
)
LABELS = Labels("a.png", "A", "me")
STALE, CURRENT = Expectation(frozenset({4})), Expectation(frozenset({4, 5}))


def live(role: str = "cover", position: int | None = 0, number: int = 1, **changes: Any) -> Ref:
    ref = Ref(
        UUID(int=number), BOOK, role, position, RefState.LIVE, Visibility.PRIVATE, hash_of("x"), LABELS, NOW - TRASH
    )
    return replace(ref, **changes)


def trashed(role: str = "cover", former: int = 0, since: timedelta = timedelta(1), **changes: Any) -> Ref:
    times: dict[str, Any] = {"trashed_at": NOW - since, "purge_after": NOW - since + TRASH}
    return live(role, state=RefState.TRASHED, position=None, former_position=former, **times, **changes)


def state_of(named: Ref | None, count: int = 0, occupant: Ref | None = None) -> RoleState:
    return RoleState(NOW, 5, count, occupant, None, named)


def restored(named: Ref, count: int = 0, occupant: Ref | None = None, **changes: Any) -> Decision:
    command = replace(Restore("demo", named.ref_id, ACTOR), **changes)
    return decide_restore(state_of(named, count, occupant), command, POLICIES, TRASH)


def revised(named: Ref, expectation: Expectation = CURRENT, **changes: Any) -> Decision:
    command = Revise("demo", named.ref_id, Revision(**changes), ACTOR, expectation)
    return decide_revise(state_of(named), command, POLICIES)


def code_of(decision: Decision) -> str:
    assert decision.error is not None
    assert decision.event is not None
    assert (decision.kind, decision.event.code) == (DecisionKind.REJECT, decision.error.code)
    assert (decision.event.version, decision.event.ref, decision.ref) == (5, None, None)
    return decision.error.code


# --- release ----------------------------------------------------------------------------------------------------------


def test_a_release_by_id_sends_the_ref_to_the_trash() -> None:
    decision = decide_release_ref(state_of(live("pages", 2)), ReleaseRef("demo", UUID(int=1), ACTOR), TRASH)
    assert (decision.kind, decision.ref) == (DecisionKind.RELEASE, trashed("pages", 2, timedelta()))
    assert decision.event is not None
    assert (decision.event.type, decision.event.version) == (EventType.REF_RELEASED, 6)


def test_a_second_release_by_id_is_a_noop_whatever_was_expected() -> None:
    decision = decide_release_ref(state_of(trashed()), ReleaseRef("demo", UUID(int=1), ACTOR, STALE), TRASH)
    assert (decision.kind, decision.ref, decision.events) == (DecisionKind.NOOP, trashed(), ())


# --- revise -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({"filename": "b.png"}, Labels("b.png", "A", "me")),
        ({"filename": None}, Labels(None, "A", "me")),
        ({"alt": None, "owner": "you"}, Labels("a.png", None, "you")),
    ],
)
def test_what_is_left_out_stays_and_none_clears(changes: dict[str, Any], labels: Labels) -> None:
    decision = revised(live(), **changes)
    assert (decision.kind, decision.ref) == (DecisionKind.UPDATE, live(labels=labels))
    assert decision.event is not None
    assert (decision.event.type, decision.event.version) == (EventType.REF_UPDATED, 6)


@pytest.mark.parametrize(
    ("role", "asked", "found"),
    [
        ("cover", Visibility.PUBLIC, Visibility.PUBLIC),
        ("cover", None, Visibility.PUBLIC),
        ("pages", Visibility.PUBLIC, Visibility.PUBLIC),
    ],
)
def test_a_visibility_is_asked_for_or_the_policys(role: str, asked: Visibility | None, found: Visibility) -> None:
    assert revised(live(role), visibility=asked).ref == live(role, visibility=found)


@pytest.mark.parametrize("changes", [{}, {"alt": "A"}, {"visibility": Visibility.PRIVATE}])
def test_what_a_ref_says_already_is_a_noop(changes: dict[str, Any]) -> None:
    assert revised(live(), **changes) == Decision(DecisionKind.NOOP, ref=live())


def test_a_visibility_that_a_ref_has_is_not_judged_again() -> None:
    shown = live("notes", visibility=Visibility.PUBLIC)
    assert revised(shown, visibility=Visibility.PUBLIC, alt="B").kind is DecisionKind.UPDATE
    assert revised(live("gone"), visibility=Visibility.PRIVATE).kind is DecisionKind.NOOP


def test_a_revision_that_the_policy_does_not_allow_is_refused() -> None:
    assert code_of(revised(live("notes"), visibility=Visibility.PUBLIC)) == "visibility-not-allowed"
    assert code_of(revised(live("gone"), visibility=Visibility.PUBLIC)) == "policy-unknown"
    assert code_of(revised(live("gone"), visibility=Visibility.PUBLIC, alt="B")) == "policy-unknown"
    assert revised(live("gone"), alt="B").kind is DecisionKind.UPDATE


def test_the_trash_keeps_its_words() -> None:
    assert code_of(revised(trashed(), alt="B")) == "in-trash"


# --- restore ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "former", "count", "position"),
    [("cover", 0, 0, 0), ("pages", 1, 2, 1), ("pages", 2, 1, 1), ("pages", 2, 0, 0), ("notes", 0, 9, 0)],
)
def test_a_restore_goes_to_the_old_position_or_the_end_of_a_shorter_list(
    role: str, former: int, count: int, position: int
) -> None:
    decision = restored(trashed(role, former), count, None if role == "cover" else live(role, former, 2))
    assert (decision.kind, decision.ref) == (DecisionKind.RESTORE, live(role, position))
    assert decision.event is not None
    assert (decision.event.type, decision.event.version) == (EventType.REF_RESTORED, 6)
    assert (decision.event.ref, decision.event.replaced, decision.replaced) == (decision.ref, None, None)


def test_a_live_ref_needs_no_restore_whatever_was_expected() -> None:
    decision = restored(live("pages", 1), 3, live("pages", 1), expectation=STALE)
    assert decision == Decision(DecisionKind.NOOP, ref=live("pages", 1))


def test_a_full_list_takes_nothing_back() -> None:
    assert code_of(restored(trashed("pages", 1), 3, live("pages", 1, 2))) == "role-full"
    assert code_of(restored(trashed("pages", 1), 3, live("pages", 1, 2), replaces=True)) == "role-full"


def test_a_taken_single_slot_is_given_back_only_on_demand() -> None:
    decision = restored(trashed(), 1, live(number=2))
    assert code_of(decision) == "slot-taken"
    assert decision.error is not None
    assert decision.error.members() == {"ref_id": str(UUID(int=2))}
    swapped = restored(trashed(), 1, live(number=2), replaces=True)
    assert (swapped.kind, swapped.ref) == (DecisionKind.RESTORE, live())
    assert swapped.replaced == trashed(since=timedelta(), ref_id=UUID(int=2))
    assert swapped.event is not None
    assert swapped.event.replaced == swapped.replaced


def test_a_single_role_that_was_a_list_is_full_while_others_are_there() -> None:
    assert code_of(restored(trashed(former=3), 1)) == "role-full"
    assert code_of(restored(trashed(former=1), 2, live(position=1, number=2), replaces=True)) == "role-full"


def test_a_restore_meets_the_policy_of_today() -> None:
    assert code_of(restored(trashed("gone"))) == "policy-unknown"
    assert code_of(restored(trashed("notes", visibility=Visibility.PUBLIC))) == "visibility-not-allowed"


# --- purge ------------------------------------------------------------------------------------------------------------


def test_a_purge_ends_what_is_in_the_trash() -> None:
    decision = decide_purge(state_of(trashed()), Purge("demo", UUID(int=1), ACTOR, CURRENT))
    assert (decision.kind, decision.ref) == (DecisionKind.PURGE, trashed())
    assert decision.event is not None
    assert (decision.event.type, decision.event.version) == (EventType.REF_PURGED, 6)
    assert (decision.event.ref, decision.event.sha256) == (trashed(), trashed().sha256)


def test_a_live_ref_is_not_purged() -> None:
    assert code_of(decide_purge(state_of(live()), Purge("demo", UUID(int=1), ACTOR))) == "not-trashed"


@pytest.mark.parametrize(
    ("named", "kind"),
    [
        (live(), DecisionKind.NOOP),
        (trashed(since=TRASH - timedelta(milliseconds=1)), DecisionKind.NOOP),
        (trashed(since=TRASH), DecisionKind.PURGE),
    ],
)
def test_time_ends_what_is_due_and_nothing_else(named: Ref, kind: DecisionKind) -> None:
    decision = decide_expiry(state_of(named), Actor("trash"))
    assert (decision.kind, decision.ref) == (kind, named)
    assert decision.event is None or decision.event.actor == Actor("trash")


# --- all of them ------------------------------------------------------------------------------------------------------


def test_a_version_that_is_said_is_heeded() -> None:
    with pytest.raises(VersionConflict):
        decide_release_ref(state_of(live()), ReleaseRef("demo", UUID(int=1), ACTOR, STALE), TRASH)
    with pytest.raises(VersionConflict):
        revised(live(), STALE, alt="B")
    with pytest.raises(VersionConflict):
        restored(trashed(), expectation=STALE)
    with pytest.raises(VersionConflict):
        decide_purge(state_of(trashed()), Purge("demo", UUID(int=1), ACTOR, STALE))


def test_in_a_batch_the_version_before_it_is_expected_rightly_too() -> None:
    state = replace(state_of(live()), began_at=4)
    assert decide_release_ref(state, ReleaseRef("demo", UUID(int=1), ACTOR, STALE), TRASH).kind is DecisionKind.RELEASE


def test_without_its_ref_nothing_is_decided() -> None:
    with pytest.raises(NotFound):
        decide_expiry(state_of(None), ACTOR)


def test_a_refusal_goes_on_record_at_the_version_of_that_moment() -> None:
    later = replace(state_of(None), now=NOW + timedelta(1), version=2)
    decision = rejected_again(later, restored(trashed(), 1, live(number=2)))
    assert decision.event is not None
    assert (decision.event.time, decision.event.version, decision.event.code) == (later.now, 2, "slot-taken")
    assert decision.error is not None
