"""The event log inside a ledger's transaction: the id an event will have, and the columns it is stored in."""

from __future__ import annotations

from service.adapters.postgres.database import Row
from service.domain.blob import Sha256
from service.domain.event import BlobEvent, Event, HoldEvent, HoldingEvent, RefEvent
from service.schemas.cursor import Cursor
from service.schemas.events import encode_event

PLACE = "pg_current_xact_id()::text::bigint AS txid, (SELECT max(epoch) FROM epochs) AS epoch"
"""Columns of a load that say where this transaction's events stand; asking assigns the transaction its id."""

INSERT_EVENT = """INSERT INTO events
    (epoch, txid, seq, time, type, decision, workspace_id, entity_type, entity_id, ref_id, sha256, data)"""


WRITE = f"""WITH event AS ({INSERT_EVENT} VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)),
claim AS (
    INSERT INTO idempotency (workspace_id, key, fingerprint, answer, created_at)
    SELECT $7::bigint, $13, $14::bytea, $15::bytea, $4::timestamptz WHERE $13::text IS NOT NULL)"""
"""How the one write of a decision begins: $1-$12 are the event's columns, $13-$15 the claim, if there is one."""


def event_place(load: Row, seq: int = 0) -> Cursor:
    """The cursor of this transaction's event number `seq`."""
    return Cursor(load["epoch"], load["txid"], seq)


def event_columns(place: Cursor, event: Event, workspace_id: int | None) -> tuple[object, ...]:
    """The twelve values of INSERT_EVENT; only operators' records of bytes belong to no workspace."""
    entity = event.entity if isinstance(event, RefEvent) else None
    ref = event.ref if isinstance(event, RefEvent) else None
    sha256 = _sha256_of(event)
    return (
        *place,
        event.time,
        event.type.value,
        event.decision.value,
        workspace_id,
        None if entity is None else entity.type,
        None if entity is None else entity.id,
        None if ref is None else ref.ref_id,
        None if sha256 is None else bytes.fromhex(sha256),
        encode_event(event).decode(),
    )


def _sha256_of(event: Event) -> Sha256 | None:
    match event:
        case HoldingEvent():
            return event.holding.sha256
        case HoldEvent():
            return event.hold.sha256
        case RefEvent() | BlobEvent():
            return event.sha256
