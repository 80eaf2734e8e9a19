"""Events: every decision that was taken, as a value; and `evolve`, which says what each one did.

`evolve` is the meaning of an event. The memory ledger writes by it, replay folds by it, and the Postgres ledger's
statements are held against it by the tests: folding the log must rebuild the tables exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from service.domain.blob import Sha256
from service.domain.health import Health
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
    RESTORE = "restore"
    PURGE = "purge"
    REORDER = "reorder"
    UPDATE = "update"


class EventType(StrEnum):
    """The `type` of a CloudEvent."""

    REF_INSERTED = "refkeep.ref.inserted.v1"
    REF_REPLACED = "refkeep.ref.replaced.v1"
    REF_RELEASED = "refkeep.ref.released.v1"
    REF_RESTORED = "refkeep.ref.restored.v1"
    REF_PURGED = "refkeep.ref.purged.v1"
    REF_REORDERED = "refkeep.ref.reordered.v1"
    REF_UPDATED = "refkeep.ref.updated.v1"
    REF_REJECTED = "refkeep.ref.rejected.v1"
    HOLDING_ACQUIRED = "refkeep.holding.acquired.v1"
    HOLDING_RELEASED = "refkeep.holding.released.v1"
    HOLD_PLACED = "refkeep.hold.placed.v1"
    HOLD_LIFTED = "refkeep.hold.lifted.v1"
    BLOB_MISSING = "refkeep.blob.missing.v1"
    BLOB_CORRUPT = "refkeep.blob.corrupt.v1"
    BLOB_HEALED = "refkeep.blob.healed.v1"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked: the id of an API key or the name of a background job, and the trace of the request."""

    id: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class RefEvent:
    """A decision about one entity. `version` is the entity's after it; a rejection leaves the version as it was.

    `ref` is the ref after the decision, of a purge the one that is gone; `ref_ids` are all live ones of the role in
    their new order.
    """

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
    ref_ids: tuple[UUID, ...] = ()


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


@dataclass(frozen=True, slots=True)
class BlobEvent:
    """What became known of bytes in the store: `health` from now on.

    `workspace` is the holder of the bytes whose log this copy is for, None for the operators' record.
    """

    type: EventType
    decision: DecisionKind
    time: datetime
    actor: Actor
    sha256: Sha256
    health: Health
    workspace: str | None = None


Event = RefEvent | HoldingEvent | HoldEvent | BlobEvent


@dataclass(frozen=True, slots=True)
class EntityState:
    """All refs of an entity: live ones by role in order of position, trashed ones in the order they were released."""

    version: int = 0
    live: dict[str, tuple[Ref, ...]] = field(default_factory=dict)
    trashed: tuple[Ref, ...] = ()

    def with_role(self, role: str, refs: list[Ref], version: int) -> EntityState:
        """The state after `role` came to hold `refs`, renumbered 0…n-1."""
        numbered = tuple(_placed(ref, position) for position, ref in enumerate(refs))
        return replace(self, version=version, live={**self.live, role: numbered})

    def with_trashed(self, ref: Ref) -> EntityState:
        """The state after `ref` joined the trash."""
        return replace(self, trashed=(*self.trashed, ref))

    def without_trashed(self, ref: Ref) -> EntityState:
        """The state after `ref` left the trash."""
        return replace(self, trashed=tuple(other for other in self.trashed if other.ref_id != ref.ref_id))


def evolve(state: EntityState, event: RefEvent) -> EntityState:
    """The entity after `event`, which must be the next one of its log."""
    match event.type:
        case EventType.REF_REJECTED:
            return state
        case EventType.REF_REORDERED:
            return _reordered(state, event)
        case EventType.REF_PURGED:
            return replace(state.without_trashed(_ref(event)), version=event.version)
        case EventType.REF_RELEASED:
            return _released(state, event)
        case EventType.REF_RESTORED:
            return _filled(state.without_trashed(_ref(event)), event)
        case EventType.REF_INSERTED | EventType.REF_REPLACED | EventType.REF_UPDATED:
            return _filled(state, event)
        case _:
            raise ValueError(f"{event.type} says nothing about an entity")


def evolve_holding(event: HoldingEvent) -> Holding | None:
    """The workspace's holding of these bytes after `event`: None once it is released."""
    return event.holding if event.type is EventType.HOLDING_ACQUIRED else None


def _filled(state: EntityState, event: RefEvent) -> EntityState:
    """The event's ref stands in its slot: in the place of the one there, or before it."""
    ref, live = _ref(event), list(state.live.get(event.role, ()))
    position = _position(ref)
    if event.type is EventType.REF_REPLACED and event.replaced is None:
        raise ValueError(f"{event.type} lacks what it replaced")
    stays = event.replaced is None and event.type is not EventType.REF_UPDATED
    live[position : position if stays else position + 1] = [ref]
    filled = state.with_role(event.role, live, event.version)
    return filled if event.replaced is None else filled.with_trashed(event.replaced)


def _released(state: EntityState, event: RefEvent) -> EntityState:
    released = _ref(event)
    remaining = [ref for ref in state.live.get(event.role, ()) if ref.ref_id != released.ref_id]
    return state.with_role(event.role, remaining, event.version).with_trashed(released)


def _reordered(state: EntityState, event: RefEvent) -> EntityState:
    by_id = {ref.ref_id: ref for ref in state.live.get(event.role, ())}
    return state.with_role(event.role, [by_id[ref_id] for ref_id in event.ref_ids], event.version)


def _ref(event: RefEvent) -> Ref:
    if event.ref is None:
        raise ValueError(f"{event.type} without its ref")
    return event.ref


def _placed(ref: Ref, position: int) -> Ref:
    return ref if ref.position == position else replace(ref, position=position)


def _position(ref: Ref) -> int:
    if ref.position is None or ref.state is not RefState.LIVE:
        raise ValueError(f"ref {ref.ref_id} has no position")
    return ref.position
