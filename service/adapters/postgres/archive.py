"""Log and tables side by side: Postgres sorts them together, so that a subject's entries come one after the other.

Nothing is compared here: whichever collation sorts, equal names stand together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from service.adapters.postgres.database import Connection, Database, Row
from service.domain.blob import Sha256
from service.domain.errors import CursorExpired
from service.domain.event import HoldEvent, HoldingEvent, RefEvent
from service.domain.replay import BrokenStory, Tombstone
from service.domain.slot import EntityKey
from service.ports.archive import EVERYTHING, EntityEntry, Entry, HoldEntry, HoldingEntry, Scope, TombstoneEntry
from service.schemas.checkpoint import decode_entity, decode_hold, decode_holding
from service.schemas.cursor import Cursor
from service.schemas.events import EventRef, decode_event, to_ref

Told = TypeVar("Told", RefEvent, HoldingEvent, HoldEvent)

_ROWS_AT_ONCE = 500
_PATIENCE_S = 3600.0
"""A whole log may have to be sorted before its first row comes."""

_REF = """json_build_object('ref_id', r.id, 'role', r.role, 'position', r.position,
    'former_position', r.former_position, 'state', r.state, 'visibility', r.visibility,
    'sha256', encode(b.sha256, 'hex'), 'filename', r.filename, 'alt', r.alt, 'owner', r.owner,
    'created_at', r.created_at, 'trashed_at', r.trashed_at, 'purge_after', r.purge_after,
    'original', CASE WHEN r.original_sha256 IS NOT NULL THEN json_build_object(
        'sha256', encode(r.original_sha256, 'hex'), 'kept', r.original_blob_id IS NOT NULL) END)"""
_PLACE = "0 AS epoch, 0::bigint AS txid, 0 AS seq, NULL::text AS type, NULL::timestamptz AS time"

# $1-$3 narrow to a workspace and an entity, $4-$6 and $7 to what was there by a cursor or a time, $8 is whether rows
# are wanted. Within a subject the start comes first, its events in their order, then the rows: 0 to 3.
_NARROW = """($1::text IS NULL OR w.slug = $1) AND ($2::text IS NULL OR {0}.entity_type = $2)
    AND ($3::text IS NULL OR {0}.entity_id = $3)"""
_UNTIL = """($4::integer IS NULL OR (v.epoch, v.txid, v.seq) <= ($4, $5::bigint, $6::integer))
    AND ($7::timestamptz IS NULL OR v.time <= $7)"""
_ENTITIES = f"""
SELECT w.slug, x.* FROM workspaces w JOIN (
    SELECT c.workspace_id, c.entity_type, c.entity_id, 0 AS kind, {_PLACE}, c.state::text AS data
    FROM checkpoint_entities c
    UNION ALL
    SELECT v.workspace_id, v.entity_type, v.entity_id, 1, v.epoch, v.txid, v.seq, v.type, v.time, v.data::text
    FROM events v WHERE v.type LIKE 'refkeep.ref.%' AND {_UNTIL}
    UNION ALL
    SELECT e.workspace_id, e.entity_type, e.entity_id, 2, {_PLACE}, e.version::text FROM entities e WHERE $8
    UNION ALL
    SELECT r.workspace_id, r.entity_type, r.entity_id, 3, {_PLACE}, {_REF}::text
    FROM refs r JOIN blobs b ON b.id = r.blob_id WHERE $8
) AS x ON x.workspace_id = w.id
WHERE {_NARROW.format("x")}
ORDER BY x.workspace_id, x.entity_type, x.entity_id, kind, epoch, txid, seq
"""
_HOLDINGS = f"""
SELECT w.slug, x.* FROM workspaces w JOIN (
    SELECT c.workspace_id, c.sha256, 0 AS kind, {_PLACE}, c.holding::text AS data FROM checkpoint_holdings c
    UNION ALL
    SELECT v.workspace_id, v.sha256, 1, v.epoch, v.txid, v.seq, v.type, v.time, v.data::text
    FROM events v WHERE v.type LIKE 'refkeep.holding.%' AND {_UNTIL}
    UNION ALL
    SELECT h.workspace_id, b.sha256, 3, {_PLACE},
        json_build_object('size', b.size, 'acquired_at', h.acquired_at, 'lease_until', h.lease_until)::text
    FROM holdings h JOIN blobs b ON b.id = h.blob_id WHERE $8
) AS x ON x.workspace_id = w.id
WHERE ($1::text IS NULL OR w.slug = $1) AND $2::text IS NULL AND $3::text IS NULL
ORDER BY x.workspace_id, x.sha256, kind, epoch, txid, seq
"""
_HOLDS = f"""
SELECT c.sha256, 0 AS kind, {_PLACE}, c.hold::text AS data FROM checkpoint_holds c
UNION ALL
SELECT v.sha256, 1, v.epoch, v.txid, v.seq, v.type, v.time, v.data::text
FROM events v WHERE v.type LIKE 'refkeep.hold.%' AND v.workspace_id IS NULL
UNION ALL
SELECT h.sha256, 3, {_PLACE}, json_build_object('kind', h.kind, 'status', h.status, 'placed_at', h.placed_at,
    'reason', h.reason, 'actor', h.actor)::text
FROM holds h
ORDER BY sha256, kind, epoch, txid, seq
"""
_TOMBSTONES = """
SELECT w.slug, x.* FROM workspaces w JOIN (
    SELECT c.ref_id, c.workspace_id, 0 AS kind, c.purged_at FROM checkpoint_tombstones c
    UNION ALL
    SELECT v.ref_id, v.workspace_id, 1, v.time FROM events v WHERE v.type = 'refkeep.ref.purged.v1'
    UNION ALL
    SELECT t.ref_id, t.workspace_id, 3, t.purged_at FROM tombstones t
) AS x ON x.workspace_id = w.id
ORDER BY x.ref_id, kind
"""


@dataclass(frozen=True, slots=True)
class PostgresArchive:
    """`Archive` on Postgres."""

    database: Database

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[PostgresBooks]:
        """See the port. It asks for no transaction id, so that the feed does not wait for it."""
        async with (
            self.database.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute(
                "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = '10min'"
            )
            yield PostgresBooks(connection, await connection.fetchval("SELECT refkeep_now()"))


@dataclass(frozen=True, slots=True)
class PostgresBooks:
    """`Books` on Postgres."""

    connection: Connection
    now: datetime

    async def entities(self, scope: Scope = EVERYTHING) -> AsyncIterator[EntityEntry]:
        """See the port."""
        async for row in self._rows(_ENTITIES, *await self._parameters(scope)):
            yield _entity_entry(row)

    async def holdings(self, scope: Scope = EVERYTHING) -> AsyncIterator[HoldingEntry]:
        """See the port."""
        async for row in self._rows(_HOLDINGS, *await self._parameters(scope)):
            yield _holding_entry(row)

    async def holds(self) -> AsyncIterator[HoldEntry]:
        """See the port."""
        async for row in self._rows(_HOLDS):
            yield _hold_entry(row)

    async def tombstones(self) -> AsyncIterator[TombstoneEntry]:
        """See the port."""
        async for row in self._rows(_TOMBSTONES):
            tombstone, ref_id = Tombstone(row["slug"], row["purged_at"]), UUID(str(row["ref_id"]))
            match row["kind"]:
                case 0:
                    yield Entry(ref_id, start=tombstone)
                case 1:
                    yield Entry(ref_id, event=tombstone)
                case _:
                    yield Entry(ref_id, row=tombstone)

    async def _parameters(self, scope: Scope) -> tuple[object, ...]:
        cursor = Cursor.parse(scope.until) if isinstance(scope.until, str) else None
        time = scope.until if isinstance(scope.until, datetime) else None
        await self._refuse_what_was_dropped(cursor, time)
        narrow = (scope.workspace, scope.entity_type, scope.entity_id)
        return *narrow, *(cursor or (None, None, None)), time, scope.rows

    async def _refuse_what_was_dropped(self, cursor: Cursor | None, time: datetime | None) -> None:
        """The checkpoint has one state of everything, and none before that."""
        row = await self.connection.fetchrow("SELECT epoch, txid, seq, until FROM checkpoint")
        if row is None:
            return
        if (cursor is not None and cursor < Cursor(row["epoch"], row["txid"], row["seq"])) or (
            time is not None and time < row["until"]
        ):
            raise CursorExpired

    async def _rows(self, query: str, *parameters: object) -> AsyncIterator[Row]:
        async for row in self.connection.cursor(query, *parameters, prefetch=_ROWS_AT_ONCE, timeout=_PATIENCE_S):
            yield row


def _event(row: Row, kind: type[Told]) -> Told:
    event = decode_event(row["type"], row["time"], row["data"].encode())
    if not isinstance(event, kind):
        raise BrokenStory(f"{row['type']} is not what its type says")
    return event


def _entity_entry(row: Row) -> EntityEntry:
    entity, data = EntityKey(row["slug"], row["entity_type"], row["entity_id"]), row["data"]
    match row["kind"]:
        case 0:
            return Entry(entity, start=decode_entity(entity, data))
        case 1:
            return Entry(entity, event=_event(row, RefEvent))
        case 2:
            return Entry(entity, row=int(data))
        case _:
            return Entry(entity, row=to_ref(entity, msgspec.json.decode(data, type=EventRef)))


def _holding_entry(row: Row) -> HoldingEntry:
    workspace, sha256 = row["slug"], Sha256(row["sha256"].hex())
    if row["kind"] == 1:
        return Entry((workspace, sha256), event=_event(row, HoldingEvent))
    holding = decode_holding(workspace, sha256, row["data"])
    if row["kind"] == 0:
        return Entry((workspace, sha256), start=holding)
    return Entry((workspace, sha256), row=holding)


def _hold_entry(row: Row) -> HoldEntry:
    sha256 = Sha256(row["sha256"].hex())
    if row["kind"] == 1:
        return Entry(sha256, event=_event(row, HoldEvent))
    hold = decode_hold(sha256, row["data"])
    return Entry(sha256, start=hold) if row["kind"] == 0 else Entry(sha256, row=hold)
