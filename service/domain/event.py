"""Events: every decision that was taken, as a value; and `evolve`, which says what each one did.

`evolve` is the meaning of an event. The memory ledger writes by it, replay folds by it, and the Postgres ledger's
statements are held against it by the tests: folding the log must rebuild the tables exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from service.domain.blob import Sha256
from service.domain.hold import Hold
from service.domain.ref import Holding, Ref, RefState
from service.domain.slot import EntityKey


class DecisionKind(StrEnum):
    """What became of a request."""

    INSERT = "insert"
    DUPLICATE = "duplicate"
    REPLACE = "replace"
    NOOP = "noop"
    REJECT = "reject"
    RELEASE = "release"
    UPDATE = "update"


class EventType(StrEnum):
    """The `type` of a CloudEvent."""

    REF_INSERTED = "refkeep.ref.inserted.v1"
    REF_REPLACED = "refkeep.ref.replaced.v1"
    REF_RELEASED = "refkeep.ref.released.v1"
    REF_UPDATED = "refkeep.ref.updated.v1"
    REF_REJECTED = "refkeep.ref.rejected.v1"
    HOLDING_ACQUIRED = "refkeep.holding.acquired.v1"
    HOLDING_RELEASED = "refkeep.holding.released.v1"
    HOLD_PLACED = "refkeep.hold.placed.v1"
    HOLD_LIFTED = "refkeep.hold.lifted.v1"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked: the id of an API key or the name of a background job, and the trace of the request."""

    id: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class RefEvent:
    """A decision about one entity. `version` is the entity's after it; a rejection leaves the version as it was."""

    type: EventType
    decision: DecisionKind
    time: datetime
    actor: Actor
    entity: EntityKey
    version: int
    role: str
    sha256: Sha256 | None = None
    ref: Ref | None = None
    replaced: Ref | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class HoldingEvent:
    """A decision about what a workspace holds; `holding` is the state after it, or the one that ended."""

    type: EventType
    decision: DecisionKind
    time: datetime
    actor: Actor
    holding: Holding


@dataclass(frozen=True, slots=True)
class HoldEvent:
    """A decision about bytes as such; `hold` is the state after it, or the one that was lifted.

    `workspace` is the holder of the bytes whose log this copy is for, None for the record that tells the reason.
    """

    type: EventType
    decision: DecisionKind
    time: datetime
    actor: Actor
    hold: Hold
    workspace: str | None = None


Event = RefEvent | HoldingEvent | HoldEvent


@dataclass(frozen=True, slots=True)
class EntityState:
    """All refs of an entity: live ones by role in order of position, trashed ones in the order they were released."""

    version: int = 0
    live: dict[str, tuple[Ref, ...]] = field(default_factory=dict)
    trashed: tuple[Ref, ...] = ()

    def with_role(self, role: str, refs: list[Ref], version: int, trashed: tuple[Ref, ...] = ()) -> EntityState:
        """The state after `role` came to hold `refs`, renumbered 0…n-1, and `trashed` joined the trash."""
        numbered = tuple(replace(ref, position=position) for position, ref in enumerate(refs))
        return EntityState(version, {**self.live, role: numbered}, self.trashed + trashed)


def evolve(state: EntityState, event: RefEvent) -> EntityState:
    """The entity after `event`, which must be the next one of its log."""
    if event.type is EventType.REF_REJECTED:
        return state
    if event.ref is None:
        raise ValueError(f"{event.type} without its ref")
    live = list(state.live.get(event.role, ()))
    match event.type:
        case EventType.REF_INSERTED:
            live.insert(_position(event.ref), event.ref)
            return state.with_role(event.role, live, event.version)
        case EventType.REF_REPLACED if event.replaced is not None:
            live[_position(event.ref)] = event.ref
            return state.with_role(event.role, live, event.version, (event.replaced,))
        case EventType.REF_UPDATED:
            live[_position(event.ref)] = event.ref
            return state.with_role(event.role, live, event.version)
        case EventType.REF_RELEASED:
            remaining = [ref for ref in live if ref.ref_id != event.ref.ref_id]
            return state.with_role(event.role, remaining, event.version, (event.ref,))
        case _:
            raise ValueError(f"{event.type} says nothing about an entity, or lacks what it replaced")


def evolve_holding(event: HoldingEvent) -> Holding | None:
    """The workspace's holding of these bytes after `event`: None once it is released."""
    return event.holding if event.type is EventType.HOLDING_ACQUIRED else None


def _position(ref: Ref) -> int:
    if ref.position is None or ref.state is not RefState.LIVE:
        raise ValueError(f"ref {ref.ref_id} has no position")
    return ref.position
