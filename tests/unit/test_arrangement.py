"""Decisions about whole roles and entities: another order, a release of all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.arrangement import ReleaseAll, Reorder, decide_release_all, decide_reorder
from service.domain.decision import Decision, Expectation, RoleState
from service.domain.errors import NotAPermutation, PreconditionRequired, VersionConflict
from service.domain.event import Actor, DecisionKind, EntityState, EventType, RefEvent, evolve
from service.domain.policy import Visibility
from service.domain.ref import Labels, Ref, RefState
from service.domain.slot import EntityKey
from tests.parts.ledgers import hash_of

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
TRASH = timedelta(days=30)
BOOK, ACTOR = EntityKey("demo", "book", "42"), Actor("someone")
SEEN, STALE = Expectation(frozenset({5})), Expectation(frozenset({4}))


def ref(number: int, position: int, role: str = "pages") -> Ref:
    return Ref(UUID(int=number), BOOK, role, position, RefState.LIVE, Visibility.PRIVATE, hash_of("x"), Labels(), NOW)


def state_of(*numbers: int) -> RoleState:
    refs = tuple(ref(number, position) for position, number in enumerate(numbers))
    return RoleState(NOW, 5, len(refs), None, None, refs=refs)


def reordered(state: RoleState, *numbers: int, expectation: Expectation = SEEN) -> Decision:
    ref_ids = tuple(UUID(int=number) for number in numbers)
    return decide_reorder(state, Reorder(BOOK, "pages", ref_ids, ACTOR, expectation))


def folded(*roles: tuple[Ref, ...]) -> EntityState:
    return EntityState(5, {refs[0].role: refs for refs in roles if refs})


# --- reorder ----------------------------------------------------------------------------------------------------------


@given(st.permutations(range(1, 8)))
def test_any_permutation_becomes_the_order(order: list[int]) -> None:
    state = state_of(*range(1, 8))
    decision = reordered(state, *order)
    assert decision.refs is not None
    assert [each.ref_id.int for each in decision.refs] == order
    assert [each.position for each in decision.refs] == [*range(7)]
    if decision.event is None:
        assert (decision.kind, order) == (DecisionKind.NOOP, [*range(1, 8)])
    else:
        assert evolve(folded(state.refs), decision.event).live["pages"] == decision.refs
        assert (decision.kind, decision.event.type) == (DecisionKind.REORDER, EventType.REF_REORDERED)
        assert (decision.event.version, [each.int for each in decision.event.ref_ids]) == (6, order)


@pytest.mark.parametrize(
    ("order", "missing", "surplus"),
    [
        ((1, 2), [3], []),
        ((1, 2, 3, 4), [], [4]),
        ((1, 2, 2), [3], [2]),
        ((1, 2, 3, 3), [], [3]),
        ((), [1, 2, 3], []),
        ((4, 5, 6), [1, 2, 3], [4, 5, 6]),
    ],
)
def test_what_is_no_permutation_is_refused_with_what_is_wrong(
    order: tuple[int, ...], missing: list[int], surplus: list[int]
) -> None:
    decision = reordered(state_of(1, 2, 3), *order)
    assert isinstance(decision.error, NotAPermutation)
    facts = {"missing": [str(UUID(int=each)) for each in missing], "surplus": [str(UUID(int=each)) for each in surplus]}
    assert decision.error.members() == facts
    assert decision.event is not None
    assert (decision.event.code, decision.event.version, decision.event.role) == ("not-a-permutation", 5, "pages")


def test_an_order_demands_the_version_that_was_seen() -> None:
    with pytest.raises(PreconditionRequired):
        reordered(state_of(1, 2), 1, 2, expectation=Expectation())
    with pytest.raises(VersionConflict):
        reordered(state_of(1, 2), 2, 1, expectation=STALE)
    with pytest.raises(VersionConflict):
        reordered(state_of(1, 2), 1, 7, expectation=STALE)
    assert reordered(replace(state_of(1, 2), began_at=4), 2, 1, expectation=STALE).kind is DecisionKind.REORDER


def test_nothing_in_order_is_in_order() -> None:
    assert reordered(state_of()) == Decision(DecisionKind.NOOP, refs=())


# --- release of all ---------------------------------------------------------------------------------------------------


@given(st.integers(0, 4), st.integers(1, 4))
def test_a_release_of_all_keeps_every_place_for_a_restore(covers: int, pages: int) -> None:
    roles = [tuple(ref(10 * role + place, place, name) for place in range(size)) for role, name, size in
             ((1, "cover", covers), (2, "pages", pages))]  # fmt: skip
    refs = (*roles[0], *roles[1])
    command = ReleaseAll(BOOK, None, ACTOR, SEEN)
    decision = decide_release_all(RoleState(NOW, 5, 0, None, None, refs=refs), command, TRASH)
    assert decision.kind is DecisionKind.RELEASE
    assert decision.refs is not None
    assert [(each.role, each.former_position) for each in decision.refs] == [
        (each.role, each.position) for each in refs
    ]
    assert [event.version for event in decision.events] == [*range(6, 6 + len(refs))]
    assert {event.type for event in decision.events} == {EventType.REF_RELEASED}
    state = folded(*roles)
    for event in decision.events:
        assert isinstance(event, RefEvent)
        state = evolve(state, event)
    assert all(found == () for found in state.live.values())
    assert set(state.trashed) == set(decision.refs)
    assert state.version == 5 + len(refs)


def test_where_nothing_is_left_a_release_of_all_is_a_noop_whatever_was_expected() -> None:
    assert decide_release_all(state_of(), ReleaseAll(BOOK, "pages", ACTOR, STALE), TRASH) == Decision(
        DecisionKind.NOOP, refs=()
    )


def test_a_release_of_all_heeds_the_version_that_is_said() -> None:
    with pytest.raises(VersionConflict):
        decide_release_all(state_of(1), ReleaseAll(BOOK, "pages", ACTOR, STALE), TRASH)
