"""Is everything where it belongs? The tables against each other, against the log, and against the folder of bytes."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from uuid import UUID

from service.adapters.postgres.database import Database
from service.adapters.postgres.rows import RESOLVED_REFS, to_holding, to_resolved_ref
from service.application.guard_store import NOTES
from service.domain.blob import Sha256
from service.domain.event import EntityState, EventType, HoldingEvent, RefEvent, evolve, evolve_holding
from service.domain.ref import Holding, Ref
from service.domain.slot import EntityKey
from service.ports.trash import TOMBSTONE
from service.schemas.events import decode_event
from tests.parts.blobs import files_under
from tests.parts.ledgers import opened_database

_BYTES = "SELECT b.sha256, b.size, o.key FROM blobs b LEFT JOIN objects o ON o.id = b.object_id AND o.state = 'live'"
_COUNTS = {
    "live objects without a blob": """SELECT count(*) FROM objects o LEFT JOIN blobs b ON b.object_id = o.id
        WHERE o.state = 'live' AND b.id IS NULL""",
    "refs without a holding of their blob": """SELECT count(*) FROM refs r LEFT JOIN blobs b ON b.id = r.blob_id
        LEFT JOIN holdings h ON h.blob_id = b.id AND h.workspace_id = r.workspace_id WHERE h.blob_id IS NULL""",
    "roles with a gap": """SELECT count(*) FROM (
        SELECT FROM refs WHERE state = 'live' GROUP BY workspace_id, entity_type, entity_id, role
        HAVING max(position) <> count(*) - 1) AS broken""",
    "workspaces with a wrong use": """SELECT count(*) FROM workspaces w CROSS JOIN LATERAL (
        SELECT coalesce(sum(b.size), 0) AS bytes, count(*) AS items
        FROM holdings h JOIN blobs b ON b.id = h.blob_id WHERE h.workspace_id = w.id) AS held
        WHERE (w.used_bytes, w.used_items) <> (held.bytes, held.items)""",
}
_EVENTS = "SELECT type, time, data::text FROM events ORDER BY epoch, txid, seq"
_ENTITIES = """SELECT w.slug, e.entity_type, e.entity_id, e.version
    FROM entities e JOIN workspaces w ON w.id = e.workspace_id"""
_TOMBSTONES = """SELECT t.ref_id, w.slug, t.purged_at FROM tombstones t JOIN workspaces w ON w.id = t.workspace_id
    WHERE t.purged_at > refkeep_now() - $1::interval"""
_HOLDINGS = """SELECT w.slug, b.sha256, b.size, h.acquired_at, h.lease_until
    FROM holdings h JOIN blobs b ON b.id = h.blob_id JOIN workspaces w ON w.id = h.workspace_id"""

Books = tuple[
    dict[EntityKey, tuple[int, frozenset[Ref]]], dict[tuple[str, Sha256], Holding], dict[UUID, tuple[str, datetime]]
]
"""Version and refs of every entity, every holding, and whose every ref was that was purged of late."""


def audit(dsn: str, objects: Path) -> list[str]:
    """What is wrong in a quiet system with its bytes under `objects`: nothing, or a sentence for every flaw."""

    async def run() -> list[str]:
        async with opened_database(dsn, 1) as database:
            return [
                *await _missing_bytes(database, objects),
                *await _unexplained_files(database, objects),
                *await ledger_flaws(database),
            ]

    return asyncio.run(run())


async def ledger_flaws(database: Database) -> list[str]:
    """What is wrong in the tables alone: with their ties to each other, or with what the log says of them."""
    return [*await _broken_ties(database), *await _unfaithful_log(database)]


async def _missing_bytes(database: Database, objects: Path) -> list[str]:
    """Every blob has a live object, whose file hashes to its name."""
    blobs = [(row["sha256"].hex(), row["size"], row["key"]) for row in await database.fetch(_BYTES)]
    return [
        f"the bytes of {sha256} are not in {key}"
        for sha256, size, key in blobs
        if key is None or not _holds(objects / key, size, sha256)
    ]


def _holds(path: Path, size: int, sha256: str) -> bool:
    if not path.is_file() or path.stat().st_size != size:
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == sha256


async def _unexplained_files(database: Database, objects: Path) -> list[str]:
    """Every file has a row, of whatever state: the row is what a later sweep goes by."""
    keys = {row["key"] for row in await database.fetch("SELECT key FROM objects")}
    return [f"{path} has no row" for path in sorted(files_under(objects) - keys - NOTES)]


async def _broken_ties(database: Database) -> list[str]:
    counts = {name: (await database.fetch(query))[0]["count"] for name, query in _COUNTS.items()}
    return [f"{count} {name}" for name, count in counts.items() if count]


async def _unfaithful_log(database: Database) -> list[str]:
    """Folding the log makes the tables."""
    written, folded = await _books_of_tables(database), await _books_of_log(database)
    names = ("entities", "holdings", "tombstones")
    return [
        f"{name}: the tables say {ours}, the log {theirs}"
        for name, ours, theirs in zip(names, written, folded, strict=True)
        if ours != theirs
    ]


async def _books_of_tables(database: Database) -> Books:
    refs: dict[EntityKey, set[Ref]] = defaultdict(set)
    for row in await database.fetch(RESOLVED_REFS):
        ref = to_resolved_ref(row).ref
        refs[ref.entity].add(ref)
    entities = {EntityKey(*list(row)[:3]): row["version"] for row in await database.fetch(_ENTITIES)}
    held = [to_holding(row["slug"], row) for row in await database.fetch(_HOLDINGS)]
    return (
        {entity: (version, frozenset(refs[entity])) for entity, version in entities.items()},
        {(holding.workspace, holding.sha256): holding for holding in held if holding is not None},
        {row["ref_id"]: (row["slug"], row["purged_at"]) for row in await database.fetch(_TOMBSTONES, TOMBSTONE)},
    )


async def _books_of_log(database: Database) -> Books:
    entities: dict[EntityKey, EntityState] = defaultdict(EntityState)
    holdings: dict[tuple[str, Sha256], Holding | None] = {}
    tombstones: dict[UUID, tuple[str, datetime]] = {}
    [[now]] = await database.fetch("SELECT refkeep_now()")
    for row in await database.fetch(_EVENTS):
        match decode_event(row["type"], row["time"], row["data"].encode()):
            case HoldingEvent() as event:
                holdings[event.holding.workspace, event.holding.sha256] = evolve_holding(event)
            case RefEvent() as event:
                entities[event.entity] = evolve(entities[event.entity], event)
                if event.type is EventType.REF_PURGED and event.ref is not None:
                    tombstones[event.ref.ref_id] = event.entity.workspace, event.time
    return (
        {entity: (state.version, _refs_of(state)) for entity, state in entities.items() if state.version},
        {key: holding for key, holding in holdings.items() if holding is not None},
        {ref_id: (owner, time) for ref_id, (owner, time) in tombstones.items() if now - time < TOMBSTONE},
    )


def _refs_of(state: EntityState) -> frozenset[Ref]:
    live = [ref for refs in state.live.values() for ref in refs]
    return frozenset([*live, *state.trashed])
