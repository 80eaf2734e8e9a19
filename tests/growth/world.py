"""A database with as many refs as asked for, filled by COPY: one large workspace, and small ones beside it.

Each entity has a list of three live refs and one in the trash, over two blobs, each ref with its events; the trash of
every eighth has ended. Everything is as the service itself would have left it: folding the log makes the tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import asyncpg

from service.adapters.postgres.log import event_columns
from service.domain.blob import Sha256
from service.domain.event import Actor, DecisionKind, Event, EventType, HoldingEvent, RefEvent
from service.domain.policy import Visibility
from service.domain.ref import Holding, Labels, Ref, RefState
from service.domain.slot import EntityKey
from service.schemas.cursor import Cursor

REFS_OF_ENTITY, BLOBS_OF_ENTITY = 4, 2
LARGE = "large"
SMALL_OF = 1000
"""Refs of a small workspace, about."""
ROLE = "file"
SIZE = 4711
_ENTITIES_AT_ONCE = 2000
_BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(days=30)
_STEP, _LEASE, _TRASH = timedelta(milliseconds=40), timedelta(days=3650), timedelta(days=3650)
_ACTOR = Actor("key:growth")
_TYPE = "document"
_PURGED_OF = 8
_WITH_A_REVIEW = 10
"""Of so many holdings one is due for a review when its lease ends; the others were looked at already."""

Row = tuple[Any, ...]


@dataclass(frozen=True)
class World:
    """What is in the database, by numbers from 0."""

    refs: int

    @property
    def entities(self) -> int:
        return self.refs // REFS_OF_ENTITY

    @property
    def small_workspaces(self) -> int:
        return max(1, self.refs // 2 // SMALL_OF)

    def slug_of(self, entity: int) -> str:
        """Every second entity is the large workspace's."""
        return LARGE if entity % 2 == 0 else f"small-{entity // 2 % self.small_workspaces}"

    def key_of(self, entity: int) -> EntityKey:
        return EntityKey(self.slug_of(entity), _TYPE, str(entity))


def blob_name(entity: int, number: int) -> Sha256:
    """One of the blobs that an entity's refs show."""
    return Sha256(sha256(f"{entity} {number}".encode()).hexdigest())


def ref_id(entity: int, number: int) -> UUID:
    """Time-ordered, as those of the service."""
    milliseconds = int(_BEGAN.timestamp() * 1000) + entity * 40 + number
    tail = int.from_bytes(sha256(f"{entity}/{number}".encode()).digest()[:9]) & ((1 << 62) - 1)
    return UUID(int=(milliseconds << 80) | (7 << 76) | (number << 64) | (2 << 62) | tail)


async def fill(connection: asyncpg.Connection[asyncpg.Record], world: World) -> None:
    """Fill an empty database, which must be a superuser's: foreign keys and triggers would only say yes each time."""
    await connection.execute("SET session_replication_role = replica")
    workspaces = await _workspaces(connection, world)
    await _burn_transactions(connection, world)
    for first in range(0, world.entities, _ENTITIES_AT_ONCE):
        numbers = range(first, min(first + _ENTITIES_AT_ONCE, world.entities))
        await _copy(connection, world, workspaces, numbers)
    await connection.execute("SET session_replication_role = DEFAULT")
    for table in ("objects", "blobs"):
        await connection.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
        )
    await connection.execute(_CHARGE)
    await connection.execute("VACUUM (ANALYZE)")


_CHARGE = """UPDATE workspaces w SET used_bytes = held.bytes, used_items = held.items FROM (
    SELECT workspace_id, sum(size) AS bytes, count(*) AS items
    FROM holdings JOIN blobs ON id = blob_id GROUP BY workspace_id) AS held
WHERE held.workspace_id = w.id"""
_BURN = """DO $$ BEGIN
    FOR n IN 1..{count} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP;
END $$"""
_OBJECTS = ["id", "key", "sha256", "size", "state", "lease_until", "created_at"]
_BLOBS = ["id", "sha256", "size", "media_type", "object_id", "object_is_live", "created_at"]
_HOLDINGS = ["workspace_id", "blob_id", "acquired_at", "lease_until"]
_REVIEWS = ["workspace_id", "blob_id", "due"]
_ENTITIES = ["workspace_id", "entity_type", "entity_id", "version"]
_REFS = ["id", "workspace_id", "entity_type", "entity_id", "role", "position", "former_position", "state"]
_REFS += ["visibility", "blob_id", "filename", "created_at", "trashed_at", "purge_after"]
_TOMBSTONES = ["ref_id", "workspace_id", "purged_at"]
_ANSWERS = ["workspace_id", "key", "fingerprint", "answer", "created_at"]
_EVENTS = ["epoch", "txid", "seq", "time", "type", "decision", "workspace_id", "entity_type", "entity_id", "ref_id"]
_EVENTS += ["sha256", "data"]


async def _workspaces(connection: asyncpg.Connection[asyncpg.Record], world: World) -> dict[str, int]:
    slugs = [LARGE, *(f"small-{number}" for number in range(world.small_workspaces))]
    rows = await connection.fetch(
        "INSERT INTO workspaces (slug) SELECT * FROM unnest($1::text[]) RETURNING slug, id", slugs
    )
    return {row["slug"]: row["id"] for row in rows}


async def _burn_transactions(connection: asyncpg.Connection[asyncpg.Record], world: World) -> None:
    """The log's transactions must be in the past of this cluster: one for each entity."""
    current = await connection.fetchval("SELECT pg_current_xact_id()::text::bigint")
    missing = world.entities + _FIRST_TXID - current + 1
    if missing > 0:
        await connection.execute("SET synchronous_commit = off")
        await connection.execute(_BURN.format(count=missing))


_FIRST_TXID = 1000


async def _copy(
    connection: asyncpg.Connection[asyncpg.Record], world: World, workspaces: dict[str, int], numbers: Iterable[int]
) -> None:
    rows: dict[str, list[Row]] = {name: [] for name in _COLUMNS}
    for entity in numbers:
        for table, row in _rows_of(world, workspaces[world.slug_of(entity)], entity):
            rows[table].append(row)
    for table, columns in _COLUMNS.items():
        await connection.copy_records_to_table(table, records=rows[table], columns=columns)


_COLUMNS = {
    "objects": _OBJECTS,
    "blobs": _BLOBS,
    "holdings": _HOLDINGS,
    "holding_reviews": _REVIEWS,
    "entities": _ENTITIES,
    "refs": _REFS,
    "tombstones": _TOMBSTONES,
    "idempotency": _ANSWERS,
    "events": _EVENTS,
}


def _rows_of(world: World, workspace_id: int, entity: int) -> Iterator[tuple[str, Row]]:
    began, key = _BEGAN + entity * _STEP, world.key_of(entity)
    names = [blob_name(entity, number) for number in range(BLOBS_OF_ENTITY)]
    holdings = [Holding(key.workspace, name, SIZE, began, began + _LEASE) for name in names]
    for number, holding in enumerate(holdings):
        yield from _rows_of_holding(workspace_id, entity * BLOBS_OF_ENTITY + number + 1, holding)
    refs = [_ref(key, entity, number, names, began) for number in range(REFS_OF_ENTITY)]
    released = replace(
        refs[-1], position=None, former_position=REFS_OF_ENTITY - 1, state=RefState.TRASHED, trashed_at=began,
        purge_after=began + _TRASH,
    )  # fmt: skip
    purged = entity % _PURGED_OF == 0
    yield "entities", (workspace_id, key.type, key.id, REFS_OF_ENTITY + (2 if purged else 1))
    yield "idempotency", (workspace_id, f"growth-{entity}", b"a request", b"its answer", began)
    if purged:
        yield "tombstones", (released.ref_id, workspace_id, began)
    for number, ref in enumerate([*refs[:-1], *([] if purged else [released])]):
        yield "refs", _row_of_ref(workspace_id, ref, entity * BLOBS_OF_ENTITY + number % BLOBS_OF_ENTITY + 1)
    for seq, event in enumerate(_events(key, holdings, refs, released, purged=purged)):
        yield "events", event_columns(Cursor(1, _FIRST_TXID + entity, seq), event, workspace_id)


def _rows_of_holding(workspace_id: int, blob_id: int, holding: Holding) -> Iterator[tuple[str, Row]]:
    name, began = bytes.fromhex(holding.sha256), holding.acquired_at
    key = f"{holding.sha256[:2]}/{holding.sha256[2:4]}/{holding.sha256}.{UUID(int=blob_id)}"
    yield "objects", (blob_id, key, name, SIZE, "live", began, began)
    yield "blobs", (blob_id, name, SIZE, "text/plain", blob_id, True, began)
    yield "holdings", (workspace_id, blob_id, began, holding.lease_until)
    if blob_id % _WITH_A_REVIEW == 0:
        yield "holding_reviews", (workspace_id, blob_id, holding.lease_until)


def _ref(key: EntityKey, entity: int, number: int, names: list[Sha256], began: datetime) -> Ref:
    visibility, labels = Visibility.PRIVATE, Labels(f"file-{entity}.txt")
    name = names[number % BLOBS_OF_ENTITY]
    return Ref(ref_id(entity, number), key, ROLE, number, RefState.LIVE, visibility, name, labels, began)


def _row_of_ref(workspace_id: int, ref: Ref, blob_id: int) -> Row:
    place = (ref.ref_id, workspace_id, ref.entity.type, ref.entity.id, ref.role, ref.position, ref.former_position)
    shown = (ref.state.value, ref.visibility.value, blob_id, ref.labels.filename)
    return *place, *shown, ref.created_at, ref.trashed_at, ref.purge_after


def _events(
    key: EntityKey, holdings: list[Holding], refs: list[Ref], released: Ref, *, purged: bool
) -> Iterator[Event]:
    time = refs[0].created_at
    for holding in holdings:
        yield HoldingEvent(EventType.HOLDING_ACQUIRED, DecisionKind.INSERT, time, _ACTOR, holding)
    for version, ref in enumerate(refs, 1):
        kind = (EventType.REF_INSERTED, DecisionKind.INSERT)
        yield RefEvent(*kind, time, _ACTOR, key, version, ROLE, ref.sha256, ref)
    kind = (EventType.REF_RELEASED, DecisionKind.RELEASE)
    yield RefEvent(*kind, time, _ACTOR, key, len(refs) + 1, ROLE, released.sha256, released)
    if purged:
        kind = (EventType.REF_PURGED, DecisionKind.PURGE)
        yield RefEvent(*kind, time, _ACTOR, key, len(refs) + 2, ROLE, released.sha256, released)
