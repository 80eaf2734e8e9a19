"""Events as they are stored and sent: the `data` of a CloudEvent, and the way back for replay."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from service.domain.blob import Sha256
from service.domain.event import Actor, BlobEvent, DecisionKind, Event, EventType, HoldEvent, HoldingEvent, RefEvent
from service.domain.health import Health
from service.domain.hold import Hold, HoldKind
from service.domain.policy import Visibility
from service.domain.ref import Holding, Labels, Original, Ref, RefState
from service.domain.slot import EntityKey
from service.schemas.texts import HashText, TimeText


def rfc3339(time: datetime) -> str:
    """A time in UTC with milliseconds: `2026-01-02T03:04:05.678Z`."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class EntityVersion(msgspec.Struct, frozen=True):
    """An entity and its version after the event."""

    type: str
    id: str
    version: int


class EventOriginal(msgspec.Struct, frozen=True):
    """What was sent, where a ref shows what was made of it; `kept` when the ref keeps those bytes, too."""

    sha256: HashText
    kept: bool


class EventRef(msgspec.Struct, frozen=True):
    """A ref as an event tells it: all that replay needs, no internal ids."""

    ref_id: UUID
    role: str
    position: int | None
    former_position: int | None
    state: RefState
    visibility: Visibility
    sha256: HashText
    filename: str | None
    alt: str | None
    owner: str | None
    created_at: TimeText
    trashed_at: TimeText | None
    purge_after: TimeText | None
    original: EventOriginal | msgspec.UnsetType | None = msgspec.UNSET


class EventHolding(msgspec.Struct, frozen=True):
    """A holding as an event tells it: size in bytes, until when it stays without a ref."""

    size: int
    acquired_at: TimeText
    lease_until: TimeText


class EventHold(msgspec.Struct, frozen=True, omit_defaults=True):
    """A hold as an event tells it: `status` is what readers get. The reason is the operator's affair."""

    kind: HoldKind
    status: int
    placed_at: TimeText
    reason: str | None = None


class EventData(msgspec.Struct, frozen=True, omit_defaults=True):
    """The `data` of every event; what does not apply is left out."""

    decision: DecisionKind
    workspace: str | None
    actor: str
    traceparent: str | None = None
    entity: EntityVersion | None = None
    role: str | None = None
    sha256: HashText | None = None
    ref: EventRef | None = None
    replaced: EventRef | None = None
    code: str | None = None
    ref_ids: list[UUID] | None = None
    holding: EventHolding | None = None
    hold: EventHold | None = None
    health: Health | None = None


def encode_event(event: Event) -> bytes:
    """The JSON text of an event's data."""
    match event:
        case HoldingEvent():
            return msgspec.json.encode(_holding_data(event))
        case HoldEvent():
            return msgspec.json.encode(_hold_data(event))
        case BlobEvent():
            return msgspec.json.encode(_blob_data(event))
        case RefEvent():
            return msgspec.json.encode(_ref_data(event))


def decode_event(type_: str, time: datetime, data: bytes) -> Event:
    """The event again, from what was stored.

    Raises `msgspec.ValidationError` for a shape that this version does not know.
    """
    stored = msgspec.json.decode(data, type=EventData)
    actor = Actor(stored.actor, stored.traceparent)
    if stored.hold is not None:
        hold = _to_hold(stored, stored.hold)
        return HoldEvent(EventType(type_), stored.decision, time, actor, hold, stored.workspace)
    if stored.health is not None:
        sha256 = Sha256(stored.sha256 or "")
        return BlobEvent(EventType(type_), stored.decision, time, actor, sha256, stored.health, stored.workspace)
    if stored.workspace is None:
        raise msgspec.ValidationError(f"{type_} without its workspace")
    if stored.holding is not None and stored.sha256 is not None:
        holding = to_holding(stored.workspace, stored.sha256, stored.holding)
        return HoldingEvent(EventType(type_), stored.decision, time, actor, holding)
    if stored.entity is None or stored.role is None:
        raise msgspec.ValidationError(f"{type_} without its entity")
    entity = EntityKey(stored.workspace, stored.entity.type, stored.entity.id)
    return RefEvent(
        EventType(type_),
        stored.decision,
        time,
        actor,
        entity,
        stored.entity.version,
        stored.role,
        None if stored.sha256 is None else Sha256(stored.sha256),
        None if stored.ref is None else to_ref(entity, stored.ref),
        None if stored.replaced is None else to_ref(entity, stored.replaced),
        stored.code,
        tuple(stored.ref_ids or ()),
    )


def subject_of(entity_type: str | None, entity_id: str | None, sha256: str | None) -> str:
    """The CloudEvents `subject`: the entity, or the blob where no entity is concerned."""
    return f"blobs/{sha256}" if entity_type is None else f"{entity_type}/{entity_id}"


def _ref_data(event: RefEvent) -> EventData:
    return EventData(
        decision=event.decision,
        workspace=event.entity.workspace,
        actor=event.actor.id,
        traceparent=event.actor.traceparent,
        entity=EntityVersion(event.entity.type, event.entity.id, event.version),
        role=event.role,
        sha256=event.sha256,
        ref=None if event.ref is None else stored_ref(event.ref),
        replaced=None if event.replaced is None else stored_ref(event.replaced),
        code=event.code,
        ref_ids=[*event.ref_ids] or None,
    )


def _holding_data(event: HoldingEvent) -> EventData:
    holding = event.holding
    return EventData(
        decision=event.decision,
        workspace=holding.workspace,
        actor=event.actor.id,
        traceparent=event.actor.traceparent,
        sha256=holding.sha256,
        holding=stored_holding(holding),
    )


def _hold_data(event: HoldEvent) -> EventData:
    hold = event.hold
    return EventData(
        decision=event.decision,
        workspace=event.workspace,
        actor=event.actor.id,
        traceparent=event.actor.traceparent,
        sha256=hold.sha256,
        hold=EventHold(hold.kind, hold.status, rfc3339(hold.placed_at), hold.reason),
    )


def _blob_data(event: BlobEvent) -> EventData:
    return EventData(
        decision=event.decision,
        workspace=event.workspace,
        actor=event.actor.id,
        traceparent=event.actor.traceparent,
        sha256=event.sha256,
        health=event.health,
    )


def stored_ref(ref: Ref) -> EventRef:
    """A ref as events and checkpoints have it."""
    return EventRef(
        ref_id=ref.ref_id,
        role=ref.role,
        position=ref.position,
        former_position=ref.former_position,
        state=ref.state,
        visibility=ref.visibility,
        sha256=ref.sha256,
        filename=ref.labels.filename,
        alt=ref.labels.alt,
        owner=ref.labels.owner,
        created_at=rfc3339(ref.created_at),
        trashed_at=None if ref.trashed_at is None else rfc3339(ref.trashed_at),
        purge_after=None if ref.purge_after is None else rfc3339(ref.purge_after),
        original=msgspec.UNSET if ref.original is None else EventOriginal(ref.original.sha256, ref.original.kept),
    )


def stored_holding(holding: Holding) -> EventHolding:
    """A holding as events and checkpoints have it."""
    return EventHolding(holding.size, rfc3339(holding.acquired_at), rfc3339(holding.lease_until))


def to_ref(entity: EntityKey, ref: EventRef) -> Ref:
    """The ref again."""
    return Ref(
        ref.ref_id,
        entity,
        ref.role,
        ref.position,
        ref.state,
        ref.visibility,
        Sha256(ref.sha256),
        Labels(ref.filename, ref.alt, ref.owner),
        datetime.fromisoformat(ref.created_at),
        None if ref.trashed_at is None else datetime.fromisoformat(ref.trashed_at),
        None if ref.purge_after is None else datetime.fromisoformat(ref.purge_after),
        ref.former_position,
        Original(Sha256(ref.original.sha256), ref.original.kept) if ref.original else None,
    )


def to_holding(workspace: str, sha256: str, holding: EventHolding) -> Holding:
    """The holding again."""
    return Holding(
        workspace,
        Sha256(sha256),
        holding.size,
        datetime.fromisoformat(holding.acquired_at),
        datetime.fromisoformat(holding.lease_until),
    )


def _to_hold(data: EventData, hold: EventHold) -> Hold:
    placed_at = datetime.fromisoformat(hold.placed_at)
    return Hold(Sha256(data.sha256 or ""), hold.kind, hold.status, hold.reason, data.actor, placed_at)
