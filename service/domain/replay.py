"""What the log says, one event after the other: folded here alone, for proof, for replay and for checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from service.domain.blob import Sha256
from service.domain.event import (
    EntityState,
    Event,
    EventType,
    HoldEvent,
    HoldingEvent,
    RefEvent,
    evolve,
    evolve_holding,
)
from service.domain.hold import Hold
from service.domain.ref import Holding, Ref
from service.domain.slot import EntityKey

HoldingKey = tuple[str, Sha256]
"""A workspace and the bytes it holds."""


class BrokenStory(Exception):
    """An event that cannot follow what was told before it; `str(error)` says why."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Whose ref was purged, and when."""

    workspace: str
    purged_at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """What a stretch of the log has made of things; None where they came to an end."""

    entities: dict[EntityKey, EntityState] = field(default_factory=dict)
    holdings: dict[HoldingKey, Holding | None] = field(default_factory=dict)
    holds: dict[Sha256, Hold | None] = field(default_factory=dict)
    tombstones: dict[UUID, Tombstone] = field(default_factory=dict)


def retell_entity(state: EntityState, event: RefEvent) -> EntityState:
    """The entity after `event`. Raises `BrokenStory` unless its version is the next one, of a reject the same."""
    expected = state.version + (event.type is not EventType.REF_REJECTED)
    if event.version != expected:
        raise BrokenStory(f"version {event.version} follows {state.version}")
    try:
        return evolve(state, event)
    except (KeyError, ValueError) as error:
        raise BrokenStory(f"version {event.version} cannot be: {error}") from error


def retell_hold(event: HoldEvent) -> Hold | None:
    """The hold on these bytes after the operators' own record of it."""
    return None if event.type is EventType.HOLD_LIFTED else event.hold


def tombstone_of(event: RefEvent) -> tuple[UUID, Tombstone] | None:
    """What is left of the ref that this event ended."""
    if event.type is not EventType.REF_PURGED or event.ref is None:
        return None
    return event.ref.ref_id, Tombstone(event.entity.workspace, event.time)


def retell(before: Told, events: Iterable[Event]) -> Told:
    """What becomes of `before`, which has everything that the events are about. Raises `BrokenStory`."""
    told = Told(dict(before.entities), dict(before.holdings), dict(before.holds), dict(before.tombstones))
    for event in events:
        match event:
            case RefEvent():
                told.entities[event.entity] = retell_entity(told.entities.get(event.entity, EntityState()), event)
                told.tombstones.update(filter(None, [tombstone_of(event)]))
            case HoldingEvent():
                told.holdings[event.holding.workspace, event.holding.sha256] = evolve_holding(event)
            case HoldEvent(workspace=None):
                told.holds[event.hold.sha256] = retell_hold(event)
            case _:
                pass  # a workspace's copy of a hold tells no more than the record; the health of bytes is no reason
    return told


def refs_of(state: EntityState) -> frozenset[Ref]:
    """All refs of an entity, live and trashed."""
    return frozenset(ref for refs in (*state.live.values(), state.trashed) for ref in refs)
