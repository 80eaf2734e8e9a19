"""One event of each type as the service writes it: the examples of the schemas, and what each must take."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from service.domain.blob import Sha256
from service.domain.event import Actor, BlobEvent, DecisionKind, Event, EventType, HoldEvent, HoldingEvent, RefEvent
from service.domain.health import Health
from service.domain.hold import Hold, HoldKind
from service.domain.hold_decision import copy_for
from service.domain.policy import Visibility
from service.domain.ref import Holding, Labels, Ref, RefState
from service.domain.slot import EntityKey
from service.schemas.events import encode_event, rfc3339, subject_of
from service.schemas.feed import CloudEvent
from tests.promises.changes import Json

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
_KEY = Actor("key:2n5k8q1w4e7r", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
_COVER = Sha256("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03")
_OLD = Sha256("9ea4faa9e3fb6a58be4f77d09c3e8f7f2d74ddccc7b2a2fbb6efe9398deaacab")
_BOOK = EntityKey("demo", "book", "42")
_LIVE = Ref(
    UUID("0199a1b2-8d4e-7f5a-9b6c-7d8e9f0a1b2c"),
    _BOOK,
    "cover",
    0,
    RefState.LIVE,
    Visibility.PUBLIC,
    _COVER,
    Labels("cover.jpg", "A lighthouse at dusk", "user:17"),
    NOW,
)
_TRASHED = replace(
    _LIVE,
    ref_id=UUID("0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b"),
    position=None,
    former_position=0,
    state=RefState.TRASHED,
    sha256=_OLD,
    created_at=NOW - timedelta(days=1),
    trashed_at=NOW,
    purge_after=NOW + timedelta(days=30),
)
_HOLDING = Holding("demo", _COVER, 2483102, NOW, NOW + timedelta(days=7))
_HOLD = Hold(_COVER, HoldKind.LEGAL, 451, "Order 4711 of the district court", _KEY.id, NOW)
_REPAIR = Actor("repair")


def sample_events() -> dict[str, Json]:
    """An event of each type, as the feed sends it."""
    return {event.type: _sent(number, event) for number, event in enumerate(_events(), 0x2FA)}


def _events() -> list[Event]:
    return [
        _of_ref(EventType.REF_INSERTED, DecisionKind.INSERT, _LIVE),
        replace(_of_ref(EventType.REF_REPLACED, DecisionKind.REPLACE, _LIVE), replaced=_TRASHED),
        _of_ref(EventType.REF_RELEASED, DecisionKind.RELEASE, _TRASHED),
        _of_ref(EventType.REF_RESTORED, DecisionKind.RESTORE, _LIVE),
        _of_ref(EventType.REF_PURGED, DecisionKind.PURGE, _TRASHED),
        replace(
            _of_ref(EventType.REF_REORDERED, DecisionKind.REORDER, _LIVE),
            ref=None,
            sha256=None,
            ref_ids=(_TRASHED.ref_id, _LIVE.ref_id),
        ),
        _of_ref(EventType.REF_UPDATED, DecisionKind.UPDATE, _LIVE),
        replace(_of_ref(EventType.REF_REJECTED, DecisionKind.REJECT, _LIVE), ref=None, code="media-type-not-allowed"),
        HoldingEvent(EventType.HOLDING_ACQUIRED, DecisionKind.INSERT, NOW, _KEY, _HOLDING),
        HoldingEvent(EventType.HOLDING_RELEASED, DecisionKind.RELEASE, NOW, Actor("collector"), _HOLDING),
        copy_for(HoldEvent(EventType.HOLD_PLACED, DecisionKind.INSERT, NOW, _KEY, _HOLD), "demo"),
        HoldEvent(EventType.HOLD_LIFTED, DecisionKind.RELEASE, NOW, _KEY, _HOLD),
        BlobEvent(EventType.BLOB_MISSING, DecisionKind.UPDATE, NOW, _REPAIR, _COVER, Health.MISSING, "demo"),
        BlobEvent(EventType.BLOB_CORRUPT, DecisionKind.UPDATE, NOW, _REPAIR, _COVER, Health.CORRUPT),
        BlobEvent(EventType.BLOB_HEALED, DecisionKind.UPDATE, NOW, _REPAIR, _COVER, Health.OK, "demo"),
    ]


def _of_ref(type_: EventType, decision: DecisionKind, ref: Ref) -> RefEvent:
    return RefEvent(type_, decision, NOW, _KEY, _BOOK, 4, ref.role, ref.sha256, ref)


def _sent(number: int, event: Event) -> Json:
    data = msgspec.json.decode(encode_event(event))
    entity = data.get("entity", {})
    subject = subject_of(entity.get("type"), entity.get("id"), data.get("sha256"))
    sent = CloudEvent(f"1-{number:x}-0", event.type, rfc3339(event.time), subject, msgspec.Raw(encode_event(event)))
    return msgspec.json.decode(msgspec.json.encode(sent))
