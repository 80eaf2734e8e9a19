"""The fold of the log: what follows, what cannot follow, what is left."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from service.domain.blob import Sha256
from service.domain.event import Actor, DecisionKind, EntityState, Event, EventType, HoldEvent, HoldingEvent, RefEvent
from service.domain.hold import Hold, HoldKind
from service.domain.policy import Visibility
from service.domain.ref import Holding, Labels, Ref, RefState
from service.domain.replay import BrokenStory, Told, Tombstone, refs_of, retell, retell_entity
from service.domain.slot import EntityKey
from service.schemas.checkpoint import (
    decode_entity,
    decode_hold,
    decode_holding,
    encode_entity,
    encode_hold,
    encode_holding,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
BOOK, SHA, ACTOR = EntityKey("demo", "book", "42"), Sha256("ab" * 32), Actor("someone")
LIVE = Ref(UUID(int=1), BOOK, "cover", 0, RefState.LIVE, Visibility.PUBLIC, SHA, Labels("a.png"), NOW)
TRASHED = replace(LIVE, position=None, former_position=0, state=RefState.TRASHED, trashed_at=NOW, purge_after=NOW)
INSERTED = RefEvent(EventType.REF_INSERTED, DecisionKind.INSERT, NOW, ACTOR, BOOK, 1, "cover", SHA, LIVE)
RELEASED = replace(INSERTED, type=EventType.REF_RELEASED, decision=DecisionKind.RELEASE, version=2, ref=TRASHED)
PURGED = replace(RELEASED, type=EventType.REF_PURGED, decision=DecisionKind.PURGE, version=3)
REJECTED = RefEvent(EventType.REF_REJECTED, DecisionKind.REJECT, NOW, ACTOR, BOOK, 0, "cover", code="role-full")
HOLDING = Holding("demo", SHA, 5, NOW, NOW)
ACQUIRED = HoldingEvent(EventType.HOLDING_ACQUIRED, DecisionKind.INSERT, NOW, ACTOR, HOLDING)
HOLD = Hold(SHA, HoldKind.LEGAL, 451, "a reason", "someone", NOW)
PLACED = HoldEvent(EventType.HOLD_PLACED, DecisionKind.INSERT, NOW, ACTOR, HOLD)


def test_a_life_leaves_a_version_and_a_tombstone() -> None:
    told = retell(Told(), [REJECTED, INSERTED, RELEASED, PURGED])
    assert told.entities[BOOK].version == 3
    assert refs_of(told.entities[BOOK]) == frozenset()
    assert told.tombstones == {LIVE.ref_id: Tombstone("demo", NOW)}


def test_a_story_in_two_parts_is_the_same_story() -> None:
    events: list[Event] = [INSERTED, ACQUIRED, RELEASED, PLACED, PURGED]
    for cut in range(len(events)):
        assert retell(retell(Told(), events[:cut]), events[cut:]) == retell(Told(), events)


def test_what_it_was_told_before_stays_as_it_was() -> None:
    before = retell(Told(), [INSERTED])
    retell(before, [RELEASED, ACQUIRED])
    assert before == retell(Told(), [INSERTED])


def test_what_was_held_ends_with_its_last_event() -> None:
    given_up = replace(ACQUIRED, type=EventType.HOLDING_RELEASED, decision=DecisionKind.RELEASE)
    lifted = replace(PLACED, type=EventType.HOLD_LIFTED, decision=DecisionKind.RELEASE)
    copy = replace(PLACED, workspace="demo")
    assert retell(Told(), [ACQUIRED, PLACED, copy]) == Told(holdings={("demo", SHA): HOLDING}, holds={SHA: HOLD})
    assert retell(Told(), [ACQUIRED, PLACED, given_up, lifted, copy]) == Told(
        holdings={("demo", SHA): None}, holds={SHA: None}
    )


@pytest.mark.parametrize(
    "event",
    [
        RELEASED,
        replace(INSERTED, version=0),
        replace(REJECTED, version=1),
        replace(INSERTED, ref=None),
        replace(INSERTED, ref=TRASHED),
        replace(INSERTED, type=EventType.REF_REORDERED, ref_ids=(UUID(int=7),)),
    ],
    ids=["a gap", "a repeat", "a reject that counts", "no ref", "a ref without a place", "an unknown ref"],
)
def test_what_cannot_follow_is_no_story(event: RefEvent) -> None:
    with pytest.raises(BrokenStory):
        retell_entity(EntityState(), event)


def test_a_checkpoint_reads_what_it_wrote() -> None:
    state = retell_entity(retell_entity(EntityState(), INSERTED), RELEASED)
    other = replace(LIVE, ref_id=UUID(int=2))
    state = retell_entity(state, replace(INSERTED, version=3, ref=other))
    assert decode_entity(BOOK, encode_entity(state)) == state
    assert decode_holding("demo", SHA, encode_holding(HOLDING)) == HOLDING
    assert decode_hold(SHA, encode_hold(HOLD)) == HOLD
