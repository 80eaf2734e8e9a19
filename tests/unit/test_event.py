"""`evolve`: what each event did; and every error as a caller may meet it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import errors
from service.domain.event import (
    Actor,
    DecisionKind,
    EntityState,
    EventType,
    HoldingEvent,
    RefEvent,
    evolve,
    evolve_holding,
)
from service.domain.policy import Visibility
from service.domain.ref import Holding, Labels, Ref, RefState
from service.domain.slot import EntityKey
from service.schemas.events import decode_event, encode_event
from tests.parts.ledgers import hash_of

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
BOOK = EntityKey("demo", "book", "42")
ACTOR = Actor("someone")
HOLDING = Holding("demo", hash_of("x"), 7, NOW, NOW + timedelta(days=7))


def ref(number: int, position: int | None) -> Ref:
    """A live ref, or a trashed one without a position."""
    live = Ref(
        UUID(int=number), BOOK, "pages", position, RefState.LIVE, Visibility.PRIVATE, hash_of("x"), Labels(), NOW
    )
    if position is not None:
        return live
    return replace(live, state=RefState.TRASHED, former_position=0, trashed_at=NOW, purge_after=NOW)


def event(
    type_: EventType, kind: DecisionKind, version: int, subject: Ref | None, replaced: Ref | None = None
) -> RefEvent:
    """An event about the role `pages`."""
    return RefEvent(type_, kind, NOW, ACTOR, BOOK, version, "pages", hash_of("x"), subject, replaced)


def inserted(number: int, position: int, version: int) -> RefEvent:
    """The event of an insert."""
    return event(EventType.REF_INSERTED, DecisionKind.INSERT, version, ref(number, position))


def state_of(*numbers: int) -> EntityState:
    """A role that holds these refs in this order."""
    state = EntityState()
    for position, number in enumerate(numbers):
        state = evolve(state, inserted(number, position, position + 1))
    return state


def numbers_of(state: EntityState) -> list[int]:
    """Which refs the role holds, in order."""
    return [each.ref_id.int for each in state.live.get("pages", ())]


def test_an_insert_shifts_the_later_ones() -> None:
    state = evolve(state_of(1, 2), inserted(3, 1, 3))
    assert numbers_of(state) == [1, 3, 2]
    assert [each.position for each in state.live["pages"]] == [0, 1, 2]
    assert state.version == 3


def test_a_replace_takes_the_slot_and_fills_the_trash() -> None:
    trashed = ref(2, None)
    state = evolve(state_of(1, 2), event(EventType.REF_REPLACED, DecisionKind.REPLACE, 3, ref(3, 1), trashed))
    assert numbers_of(state) == [1, 3]
    assert state.trashed == (trashed,)


def test_a_release_closes_the_gap() -> None:
    trashed = ref(1, None)
    state = evolve(state_of(1, 2, 3), event(EventType.REF_RELEASED, DecisionKind.RELEASE, 4, trashed))
    assert numbers_of(state) == [2, 3]
    assert [each.position for each in state.live["pages"]] == [0, 1]
    assert state.trashed == (trashed,)


def test_an_update_changes_the_words_alone() -> None:
    described = replace(ref(2, 1), labels=Labels(alt="B"))
    state = evolve(state_of(1, 2), event(EventType.REF_UPDATED, DecisionKind.UPDATE, 3, described))
    assert state.live["pages"] == (ref(1, 0), described)


def restored(number: int, position: int, version: int, replaced: Ref | None = None) -> RefEvent:
    """The event of a restore."""
    return event(EventType.REF_RESTORED, DecisionKind.RESTORE, version, ref(number, position), replaced)


def released(number: int, version: int) -> RefEvent:
    """The event of a release."""
    return event(EventType.REF_RELEASED, DecisionKind.RELEASE, version, ref(number, None))


def test_a_restore_takes_the_ref_out_of_the_trash_and_shifts_the_later_ones() -> None:
    state = evolve(evolve(evolve(state_of(1, 2, 3), released(2, 4)), released(1, 5)), restored(2, 0, 6))
    assert numbers_of(state) == [2, 3]
    assert [each.position for each in state.live["pages"]] == [0, 1]
    assert (state.trashed, state.version) == ((ref(1, None),), 6)


def test_a_restore_that_replaces_takes_the_slot() -> None:
    state = evolve(evolve(state_of(1, 2), released(1, 3)), restored(1, 0, 4, ref(2, None)))
    assert numbers_of(state) == [1]
    assert state.trashed == (ref(2, None),)


def test_a_purge_empties_the_trash_and_moves_nothing() -> None:
    before = evolve(evolve(state_of(1, 2, 3), released(2, 4)), released(1, 5))
    state = evolve(before, event(EventType.REF_PURGED, DecisionKind.PURGE, 6, ref(2, None)))
    assert (numbers_of(state), state.trashed, state.version) == ([3], (ref(1, None),), 6)


def reordered(*numbers: int) -> RefEvent:
    """The event of another order."""
    ref_ids = tuple(UUID(int=number) for number in numbers)
    return RefEvent(EventType.REF_REORDERED, DecisionKind.REORDER, NOW, ACTOR, BOOK, 4, "pages", ref_ids=ref_ids)


def test_a_new_order_numbers_the_refs_anew() -> None:
    state = evolve(state_of(1, 2, 3), reordered(3, 1, 2))
    assert numbers_of(state) == [3, 1, 2]
    assert [each.position for each in state.live["pages"]] == [0, 1, 2]
    assert (state.trashed, state.version) == ((), 4)


def test_a_rejection_changes_nothing() -> None:
    state = state_of(1, 2)
    assert evolve(state, event(EventType.REF_REJECTED, DecisionKind.REJECT, 2, None)) == state


def test_other_roles_stay_as_they_are() -> None:
    other = replace(inserted(9, 0, 3), role="notes", ref=replace(ref(9, 0), role="notes"))
    state = evolve(state_of(1, 2), other)
    assert numbers_of(state) == [1, 2]
    assert set(state.live) == {"pages", "notes"}


@pytest.mark.parametrize(
    "broken",
    [
        event(EventType.REF_INSERTED, DecisionKind.INSERT, 3, None),
        event(EventType.REF_INSERTED, DecisionKind.INSERT, 3, ref(3, None)),
        event(EventType.REF_REPLACED, DecisionKind.REPLACE, 3, ref(3, 0)),
        event(EventType.REF_UPDATED, DecisionKind.UPDATE, 3, ref(1, None)),
        event(EventType.HOLDING_ACQUIRED, DecisionKind.INSERT, 3, ref(3, 0)),
        event(EventType.REF_PURGED, DecisionKind.PURGE, 3, None),
        event(EventType.REF_RESTORED, DecisionKind.RESTORE, 3, ref(3, None)),
    ],
    ids=[
        "without a ref",
        "trashed",
        "without what it replaced",
        "update in the trash",
        "about a holding",
        "purge without a ref",
        "restored into the trash",
    ],
)
def test_an_event_that_cannot_have_happened_is_not_folded(broken: RefEvent) -> None:
    with pytest.raises(ValueError):
        evolve(state_of(1, 2), broken)


def test_a_holding_stays_until_it_is_released() -> None:
    acquired = HoldingEvent(EventType.HOLDING_ACQUIRED, DecisionKind.INSERT, NOW, ACTOR, HOLDING)
    released = HoldingEvent(EventType.HOLDING_RELEASED, DecisionKind.RELEASE, NOW, ACTOR, HOLDING)
    assert evolve_holding(acquired) == HOLDING
    assert evolve_holding(released) is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=40))
def test_positions_are_dense_after_any_sequence(steps: list[tuple[bool, int]]) -> None:
    state, expected = EntityState(), list[int]()
    for version, (inserts, place) in enumerate(steps, 1):
        if inserts or not expected:
            position = place % (len(expected) + 1)
            expected.insert(position, version)
            state = evolve(state, inserted(version, position, version))
        else:
            released = ref(expected.pop(place % len(expected)), None)
            state = evolve(state, event(EventType.REF_RELEASED, DecisionKind.RELEASE, version, released))
    assert numbers_of(state) == expected
    assert [each.position for each in state.live.get("pages", ())] == list(range(len(expected)))
    assert state.version == len(steps)


@pytest.mark.parametrize(
    "told",
    [
        inserted(1, 0, 1),
        event(EventType.REF_REPLACED, DecisionKind.REPLACE, 3, ref(3, 1), ref(2, None)),
        replace(event(EventType.REF_REJECTED, DecisionKind.REJECT, 0, None), sha256=None, code="role-full"),
        restored(1, 0, 4, ref(2, None)),
        event(EventType.REF_PURGED, DecisionKind.PURGE, 6, ref(2, None)),
        reordered(3, 1, 2),
        HoldingEvent(EventType.HOLDING_ACQUIRED, DecisionKind.INSERT, NOW, Actor("a", "00-1-2-3"), HOLDING),
    ],
    ids=["insert", "replace", "reject", "restore", "purge", "reorder", "holding"],
)
def test_an_event_is_the_same_after_it_was_stored(told: RefEvent | HoldingEvent) -> None:
    assert decode_event(told.type.value, told.time, encode_event(told)) == told


@pytest.mark.parametrize(
    "error",
    [
        errors.BadHash("x" * 200),
        errors.BadName("role", "\0"),
        errors.ObjectMissing("ab/cd/x"),
        errors.PolicyUnknown("book", "back", ["book/cover"]),
        errors.TooLarge(None, 5),
        errors.TooLarge(6, 5),
        errors.MediaTypeMismatch("image/png", "text/plain"),
        errors.MediaTypeNotAllowed("text/plain", ("image/*",)),
        errors.DimensionsExceeded(3, 4, 11, None),
        errors.DimensionsExceeded(3, 4, None, 3),
        errors.DurationExceeded(2, 1),
        errors.UnreadableMedia("image/png"),
        errors.Unauthorized(),
        errors.WorkspaceRequired(),
        errors.VersionConflict("It has moved on.", 3),
        errors.PreconditionRequired(3),
        errors.IdempotencyKeyReuse(),
        errors.IdempotencyInProgress(),
        errors.DigestMismatch("a", "b"),
        errors.QuotaExceeded(),
        errors.BlobInUse(),
        errors.BlobNotHeld("a" * 64),
        errors.PositionOutOfRange(3, 2),
        errors.RoleFull("pages", 2),
        errors.Gone(),
        errors.SlotTaken("cover", UUID(int=1)),
        errors.NotAPermutation([UUID(int=1)], []),
        errors.NotTrashed(),
        errors.InTrash(),
        errors.BadCursor(),
        errors.ReadOnly(),
        errors.Unavailable("Later."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_a_sentence_with_a_code_and_facts_that_fit_into_json(error: errors.RefkeepError) -> None:
    assert str(error).endswith(".")
    assert error.code.replace("-", "").isalpha()
    assert error.code == error.code.lower()
    assert error.outcome in {"rejected", "error", "not_found", "forbidden"}
    assert json.loads(json.dumps(error.members())) == error.members()


def test_what_an_operation_of_a_batch_meets_has_its_number() -> None:
    with pytest.raises(errors.Gone) as met, errors.operation(7):
        raise errors.Gone
    assert met.value.index == 7
    assert errors.Gone().index is None
