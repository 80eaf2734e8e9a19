"""Dropping events on Postgres: each batch goes into the checkpoint by the transaction that deletes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from service.adapters.postgres.database import Connection, Database, Row
from service.adapters.postgres.locks import lock_of
from service.domain.blob import Sha256
from service.domain.errors import BadCursor
from service.domain.event import Event, RefEvent
from service.domain.replay import Told
from service.domain.slot import EntityKey
from service.observability import observed
from service.ports.archive import Dropped, Extent, Retelling
from service.ports.trash import TOMBSTONE
from service.schemas.checkpoint import (
    decode_entity,
    encode_entity,
    encode_hold,
    encode_holding,
)
from service.schemas.cursor import Cursor
from service.schemas.events import decode_event

_LOCK = lock_of("checkpoint")
_FOLDED = ("refkeep.ref.", "refkeep.holding.", "refkeep.hold.")
"""Types that make something; the others only told of it."""

_LAST_SEQ = 2**31 - 1
_EDGE = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xmin, (SELECT max(epoch) FROM epochs) AS epoch"
_SETTLED = "(v.epoch < edge.epoch OR v.txid < edge.xmin)"
_OLDEST = f"""
WITH edge AS ({_EDGE})
SELECT v.epoch, v.txid, v.seq, v.type, v.time, v.workspace_id, v.data::text AS data FROM events v, edge
WHERE {_SETTLED} AND ($1::integer IS NULL OR (v.epoch, v.txid, v.seq) <= ($1, $2::bigint, $3::integer))
ORDER BY v.epoch, v.txid, v.seq LIMIT $4
"""
_COUNT = f"""
WITH edge AS ({_EDGE}),
stop AS (
    SELECT v.epoch, v.txid, v.seq FROM events v WHERE v.time >= $4::timestamptz
    ORDER BY v.epoch, v.txid, v.seq LIMIT 1)
SELECT count(*) FROM events v CROSS JOIN edge LEFT JOIN stop ON true
WHERE {_SETTLED} AND ($1::integer IS NULL OR (v.epoch, v.txid, v.seq) <= ($1, $2::bigint, $3::integer))
    AND (stop.epoch IS NULL OR (v.epoch, v.txid, v.seq) < (stop.epoch, stop.txid, stop.seq))
"""
_EXTENT = f"""
WITH edge AS ({_EDGE})
SELECT edge.*, first.epoch AS first_epoch, first.txid AS first_txid, first.seq AS first_seq, first.time AS first_time,
    last.epoch AS last_epoch, last.txid AS last_txid, last.seq AS last_seq, last.time AS last_time,
    c.epoch AS dropped_epoch, c.txid AS dropped_txid, c.seq AS dropped_seq, c.taken_at,
    coalesce(c.dropped, 0) AS dropped
FROM edge
LEFT JOIN (SELECT * FROM events ORDER BY epoch, txid, seq LIMIT 1) AS first ON true
LEFT JOIN (SELECT * FROM events ORDER BY epoch DESC, txid DESC, seq DESC LIMIT 1) AS last ON true
LEFT JOIN checkpoint c ON true
"""
_ENTITIES = """SELECT w.slug, c.entity_type, c.entity_id, c.state::text AS state
FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (slug, entity_type, entity_id)
JOIN workspaces w USING (slug)
JOIN checkpoint_entities c ON c.workspace_id = w.id AND c.entity_type = asked.entity_type
    AND c.entity_id = asked.entity_id"""
_KEEP_ENTITIES = """INSERT INTO checkpoint_entities (workspace_id, entity_type, entity_id, state)
SELECT (SELECT id FROM workspaces WHERE slug = $1), $2, $3, $4::json
ON CONFLICT (workspace_id, entity_type, entity_id) DO UPDATE SET state = EXCLUDED.state"""
_KEEP_HOLDINGS = """INSERT INTO checkpoint_holdings (workspace_id, sha256, holding)
SELECT (SELECT id FROM workspaces WHERE slug = $1), $2, $3::json
ON CONFLICT (workspace_id, sha256) DO UPDATE SET holding = EXCLUDED.holding"""
_END_HOLDINGS = """DELETE FROM checkpoint_holdings
WHERE workspace_id = (SELECT id FROM workspaces WHERE slug = $1) AND sha256 = $2"""
_KEEP_HOLDS = """INSERT INTO checkpoint_holds (sha256, hold) VALUES ($1, $2::json)
ON CONFLICT (sha256) DO UPDATE SET hold = EXCLUDED.hold"""
_KEEP_TOMBSTONES = """INSERT INTO checkpoint_tombstones (ref_id, workspace_id, purged_at)
SELECT $1, (SELECT id FROM workspaces WHERE slug = $2), $3"""
_FORGET_TOMBSTONES = "DELETE FROM checkpoint_tombstones WHERE purged_at <= refkeep_now() - $1::interval"
_MOVE = """INSERT INTO checkpoint AS c (epoch, txid, seq, until, dropped, taken_at)
VALUES ($1, $2, $3, $4, $5, refkeep_now())
ON CONFLICT (only_row) DO UPDATE SET epoch = EXCLUDED.epoch, txid = EXCLUDED.txid, seq = EXCLUDED.seq,
    until = greatest(c.until, EXCLUDED.until), dropped = c.dropped + EXCLUDED.dropped, taken_at = EXCLUDED.taken_at"""
_MOVE_ENDS = """INSERT INTO checkpoint_ends (workspace_id, epoch, txid, seq) VALUES ($1, $2, $3, $4)
ON CONFLICT (workspace_id) DO UPDATE SET epoch = EXCLUDED.epoch, txid = EXCLUDED.txid, seq = EXCLUDED.seq"""
_DELETE = "DELETE FROM events WHERE (epoch, txid, seq) <= ($1, $2, $3)"


@dataclass(frozen=True, slots=True)
class PostgresCheckpoints:
    """`Checkpoints` on Postgres."""

    database: Database

    @observed("events.extent", layer="repo", span_name="SELECT events")
    async def extent(self) -> Extent:
        """See the port."""
        row = await self.database.fetchrow(_EXTENT)
        if row is None:
            raise RuntimeError("an edge without a row")
        edge = Cursor(row["epoch"], row["xmin"] - 1, _LAST_SEQ)
        first, last, dropped = _place(row, "first_"), _place(row, "last_"), _place(row, "dropped_")
        times = row["first_time"], row["last_time"]
        return Extent(first, times[0], last, times[1], str(edge), row["dropped"], dropped, row["taken_at"])

    @observed("events.count", layer="repo", span_name="SELECT events")
    async def count(self, before: str | datetime) -> int:
        """See the port."""
        cursor, time = await self._until(before)
        row = await self.database.fetchrow(_COUNT, *(cursor or (None, None, None)), time)
        return 0 if row is None else int(row["count"])

    @observed("events.drop", layer="repo", span_name="DELETE events")
    async def drop(self, before: str | datetime, limit: int, retelling: Retelling) -> Dropped:
        """See the port."""
        cursor, time = await self._until(before)
        async with self.database.locked([_LOCK]) as connection:
            oldest = await connection.fetch(_OLDEST, *(cursor or (None, None, None)), limit)
            rows = [*takewhile(lambda row: time is None or row["time"] < time, oldest)]
            if not rows:
                return Dropped(0, None, more=False)
            events = [_event(row) for row in rows if row["type"].startswith(_FOLDED)]
            before_told = await _load(connection, events)
            await _keep(connection, before_told, retelling(before_told, events))
            await _move(connection, rows)
            place = _key(rows[-1])
            await connection.execute(_DELETE, *place)
            return Dropped(len(rows), str(place), more=len(rows) == limit)

    async def _until(self, before: str | datetime) -> tuple[Cursor | None, datetime | None]:
        if isinstance(before, datetime):
            return None, before
        cursor = Cursor.parse(before)
        if cursor > Cursor.parse((await self.extent()).edge):
            raise BadCursor
        return cursor, None


async def _load(connection: Connection, events: Sequence[Event]) -> Told:
    """What the checkpoint says of everything that these events are about."""
    told = Told()
    entities = {event.entity for event in events if isinstance(event, RefEvent)}
    columns = [e.workspace for e in entities], [e.type for e in entities], [e.id for e in entities]
    for row in await connection.fetch(_ENTITIES, *columns):
        entity = EntityKey(row["slug"], row["entity_type"], row["entity_id"])
        told.entities[entity] = decode_entity(entity, row["state"])
    return told


async def _keep(connection: Connection, before: Told, after: Told) -> None:
    """Holdings and holds are whole in each of their events, so that what was before them is not asked for."""
    changed = [(key, state) for key, state in after.entities.items() if state != before.entities.get(key)]
    rows = [(key.workspace, key.type, key.id, encode_entity(state)) for key, state in changed if state.version]
    held = [(slug, _bytes(sha256), encode_holding(h)) for (slug, sha256), h in after.holdings.items() if h is not None]
    ended = [(slug, _bytes(sha256)) for (slug, sha256), holding in after.holdings.items() if holding is None]
    holds = [(_bytes(sha256), encode_hold(hold)) for sha256, hold in after.holds.items() if hold is not None]
    lifted = [_bytes(sha256) for sha256, hold in after.holds.items() if hold is None]
    tombstones = [(ref_id, each.workspace, each.purged_at) for ref_id, each in after.tombstones.items()]
    await connection.executemany(_KEEP_ENTITIES, rows)
    await connection.executemany(_KEEP_HOLDINGS, held)
    await connection.executemany(_END_HOLDINGS, ended)
    await connection.executemany(_KEEP_HOLDS, holds)
    await connection.execute("DELETE FROM checkpoint_holds WHERE sha256 = ANY ($1)", lifted)
    await connection.executemany(_KEEP_TOMBSTONES, tombstones)
    await connection.execute(_FORGET_TOMBSTONES, TOMBSTONE)


async def _move(connection: Connection, rows: Sequence[Row]) -> None:
    """The checkpoint stands behind the last of these, and so does each workspace's end."""
    until = max(row["time"] for row in rows)
    await connection.execute(_MOVE, *_key(rows[-1]), until, len(rows))
    ends = {row["workspace_id"]: _key(row) for row in rows if row["workspace_id"] is not None}
    await connection.executemany(_MOVE_ENDS, [(owner, *place) for owner, place in ends.items()])


def _event(row: Row) -> Event:
    return decode_event(row["type"], row["time"], row["data"].encode())


def _key(row: Row) -> Cursor:
    return Cursor(row["epoch"], row["txid"], row["seq"])


def _place(row: Row, prefix: str) -> str | None:
    if row[f"{prefix}epoch"] is None:
        return None
    return str(Cursor(row[f"{prefix}epoch"], row[f"{prefix}txid"], row[f"{prefix}seq"]))


def _bytes(sha256: Sha256) -> bytes:
    return bytes.fromhex(sha256)
