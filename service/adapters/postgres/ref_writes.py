"""What events do to the tables: what `evolve` says of them, in SQL. The tests hold one against the other."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from service.adapters.postgres.claims import claim_parameters, store_answer
from service.adapters.postgres.database import Connection, Row
from service.adapters.postgres.log import INSERT_EVENT, WRITE, event_columns, event_place
from service.domain.decision import Decision
from service.domain.errors import BlobNotHeld
from service.domain.event import EventType, RefEvent
from service.domain.ref import Ref
from service.ports.idempotency import Claim, Outcome

Statement = tuple[str, tuple[object, ...]]

# Every write of one event takes the same first parameters, so that its parts can be put together:
# $1-$12 the event's columns, $13-$15 the claim, $16 the entity's version, $17 role.
_ENTITY = """entity AS (
    INSERT INTO entities (workspace_id, entity_type, entity_id, version) VALUES ($7, $8, $9, $16)
    ON CONFLICT (workspace_id, entity_type, entity_id) DO UPDATE SET version = EXCLUDED.version)"""
_COMMON = f"{WRITE}, {_ENTITY}"
# 0 is no blob's id: an original that is gone by now breaks the foreign key, as one that was never held.
_ORIGINAL = """CASE WHEN {kept}::boolean THEN coalesce((SELECT id FROM blobs WHERE sha256 = {sha256}), 0) END"""
_INSERT_REF = f"""INSERT INTO refs (id, workspace_id, entity_type, entity_id, role, position, state, visibility,
        blob_id, filename, alt, owner, created_at, original_sha256, original_blob_id)
    VALUES ($10, $7, $8, $9, $17, $18, 'live', $19, (SELECT id FROM blobs WHERE sha256 = $11), $20, $21, $22, $4,
        $23::bytea, {_ORIGINAL.format(sha256="$23", kept="$24")})"""
_TRASH = """UPDATE refs SET state = 'trashed', former_position = position, position = NULL,
        trashed_at = {trashed_at}, purge_after = {purge_after}
    WHERE id = {ref_id}"""
_SHIFT = """UPDATE refs SET position = position {by}
    WHERE workspace_id = $7 AND entity_type = $8 AND entity_id = $9 AND role = $17 AND position {which}"""
_RESTORE_REF = """UPDATE refs
    SET state = 'live', position = $18, former_position = NULL, trashed_at = NULL, purge_after = NULL WHERE id = $10"""

_INSERTED = f"{_COMMON}, shifted AS ({_SHIFT.format(by='+ 1', which='>= $18')}) {_INSERT_REF}"
_REPLACED = f"""{_COMMON},
trashed AS ({_TRASH.format(ref_id="$25", trashed_at="$4", purge_after="$26")})
{_INSERT_REF}"""
_UPDATED = f"""{_COMMON}
UPDATE refs SET visibility = $18, filename = $19, alt = $20, owner = $21, original_sha256 = $22::bytea,
    original_blob_id = {_ORIGINAL.format(sha256="$22", kept="$23")}
WHERE id = $10 AND role = $17"""
_RELEASED = f"""{_COMMON},
shifted AS ({_SHIFT.format(by="- 1", which="> $18")})
{_TRASH.format(ref_id="$10", trashed_at="$4", purge_after="$19")}"""
_RESTORED = f"{_COMMON}, shifted AS ({_SHIFT.format(by='+ 1', which='>= $18')}) {_RESTORE_REF}"
_RESTORED_INSTEAD = f"""{_COMMON},
trashed AS ({_TRASH.format(ref_id="$19", trashed_at="$4", purge_after="$20")})
{_RESTORE_REF} AND role = $17"""
_REORDERED = f"""{_COMMON}
UPDATE refs SET position = moved.place - 1 FROM unnest($18::uuid[]) WITH ORDINALITY AS moved (id, place)
WHERE refs.id = moved.id AND refs.role = $17 AND refs.position <> moved.place - 1"""
_PURGED = f"""{_COMMON},
tombstone AS (INSERT INTO tombstones (ref_id, workspace_id, purged_at) VALUES ($10, $7, $4))
DELETE FROM refs WHERE id = $10 AND role = $17"""

_EVENTS = f"{INSERT_EVENT} VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
_VERSIONS = """INSERT INTO entities (workspace_id, entity_type, entity_id, version)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[])
    ON CONFLICT (workspace_id, entity_type, entity_id) DO UPDATE SET version = EXCLUDED.version"""
_RELEASED_TOGETHER = _TRASH.format(ref_id="ANY ($1::uuid[])", trashed_at="$2", purge_after="$3")
_PURGED_TOGETHER = """WITH gone AS (DELETE FROM refs WHERE id = ANY ($1::uuid[]) RETURNING id, workspace_id)
    INSERT INTO tombstones (ref_id, workspace_id, purged_at) SELECT id, workspace_id, $2 FROM gone"""

_REJECTED = f"""
WITH fresh AS (
    INSERT INTO rejections AS r (actor, workspace_id, entity_type, entity_id, code, recorded_at)
    VALUES ($13, $7, $8, $9, $14, $4)
    ON CONFLICT (actor, workspace_id, entity_type, entity_id, code) DO UPDATE SET recorded_at = EXCLUDED.recorded_at
        WHERE r.recorded_at <= EXCLUDED.recorded_at - interval '1 minute'
    RETURNING 1)
{INSERT_EVENT} SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 FROM fresh"""


async def write_decision(
    connection: Connection,
    workspace_id: int,
    row: Row,
    decision: Decision,
    answer: tuple[Claim[Outcome] | None, Outcome],
    first_seq: int = 0,
) -> None:
    """Write the events of a decision, what they do, and the answer to the claim: in one statement if it is one event.

    `row` is the load; the events take the places from `first_seq` on. Raises `BlobNotHeld`.
    """
    claim, outcome = answer
    places = [event_place(row, first_seq + number) for number in range(len(decision.events))]
    columns = [event_columns(place, event, workspace_id) for place, event in zip(places, decision.events, strict=True)]
    match decision.events:
        case []:
            await store_answer(connection, workspace_id, claim, outcome)
        case [event]:
            await _write_one(connection, event, columns[0], claim_parameters(claim, outcome))
        case events:
            await write_together(connection, workspace_id, events, columns)
            await store_answer(connection, workspace_id, claim, outcome)


async def write_together(
    connection: Connection, workspace_id: int, events: Sequence[RefEvent], columns: Sequence[tuple[object, ...]]
) -> None:
    """Write many releases, or many purges, of any entities of a workspace at one time.

    Releases of one role come from its last position to its first, so that no other ref moves.
    """
    versions = {event.entity: event.version for event in events}
    await connection.executemany(_EVENTS, columns)
    await connection.execute(
        _VERSIONS,
        [workspace_id] * len(versions),
        [entity.type for entity in versions],
        [entity.id for entity in versions],
        [*versions.values()],
    )
    first, ref_ids = _ref_of(events[0]), [_ref_of(event).ref_id for event in events]
    if events[0].type is EventType.REF_RELEASED:
        await connection.execute(_RELEASED_TOGETHER, ref_ids, first.trashed_at, first.purge_after)
    else:
        await connection.execute(_PURGED_TOGETHER, ref_ids, events[0].time)


async def _write_one(
    connection: Connection, event: RefEvent, columns: tuple[object, ...], stored: tuple[object, ...]
) -> None:
    try:
        if event.type is EventType.REF_REJECTED:
            await connection.execute(_REJECTED, *columns, event.actor.id, event.code)
        else:
            statement, parameters = _statement(event)
            await connection.execute(statement, *columns, *stored, event.version, event.role, *parameters)
    except asyncpg.ForeignKeyViolationError as error:
        if error.constraint_name == "refs_holding_fkey":
            raise BlobNotHeld(event.sha256 or "") from error
        if error.constraint_name == "refs_original_fkey" and event.ref is not None and event.ref.original is not None:
            raise BlobNotHeld(event.ref.original.sha256) from error
        raise


def _statement(event: RefEvent) -> Statement:
    """The statement of an event and its parameters from $18 on."""
    if event.type is EventType.REF_REORDERED:
        return _REORDERED, ([*event.ref_ids],)
    ref, replaced = _ref_of(event), _ends_of(event.replaced)
    words = (ref.visibility.value, ref.labels.filename, ref.labels.alt, ref.labels.owner, *_original_of(ref))
    statements: dict[EventType, Statement] = {
        EventType.REF_INSERTED: (_INSERTED, (ref.position, *words)),
        EventType.REF_REPLACED: (_REPLACED, (ref.position, *words, *replaced)),
        EventType.REF_UPDATED: (_UPDATED, words),
        EventType.REF_RELEASED: (_RELEASED, (ref.former_position, ref.purge_after)),
        EventType.REF_RESTORED: (_RESTORED_INSTEAD if replaced else _RESTORED, (ref.position, *replaced)),
        EventType.REF_PURGED: (_PURGED, ()),
    }
    return statements[event.type]


def _original_of(ref: Ref) -> tuple[bytes | None, bool]:
    return (None, False) if ref.original is None else (bytes.fromhex(ref.original.sha256), ref.original.kept)


def _ends_of(replaced: Ref | None) -> tuple[object, ...]:
    return () if replaced is None else (replaced.ref_id, replaced.purge_after)


def _ref_of(event: RefEvent) -> Ref:
    if event.ref is None:
        raise ValueError(f"{event.type} without its ref")
    return event.ref
