"""Runs of imports, and the story of an entity as its log tells it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from uuid_utils.compat import uuid7

from service.adapters.postgres.database import Connection, Database, Row
from service.domain.errors import ImportRolledBack
from service.domain.event import DecisionKind, EventType
from service.domain.importing import EntityStory, LiveRef, Touch
from service.domain.slot import EntityKey
from service.observability import observed
from service.ports.imports import ImportRun, RunState

_RUN = """i.id, i.manifest, i.name, i.state, i.started_at, i.touched_at, i.counts,
    (SELECT count(*) FROM import_entities e WHERE e.import_id = i.id) AS entities"""
_BEGIN = """INSERT INTO imports (id, manifest, name) VALUES ($1, $2, $3)
    ON CONFLICT (manifest) WHERE state <> 'rolled-back'
    DO UPDATE SET state = 'running', touched_at = refkeep_now() RETURNING id"""
_ANNOUNCE = """INSERT INTO import_entities (import_id, workspace_id, entity_type, entity_id)
    SELECT $1, w.id, e.type, e.id FROM unnest($2::text[], $3::text[], $4::text[]) AS e (workspace, type, id)
    JOIN workspaces w ON w.slug = e.workspace
    ON CONFLICT DO NOTHING"""
_FINISH = """UPDATE imports SET state = $2, counts = $3, touched_at = refkeep_now()
    WHERE id = $1 AND (state <> 'rolled-back' OR $2 = 'rolled-back') RETURNING id"""
_IS_ROLLED_BACK = "SELECT state = 'rolled-back' FROM imports WHERE id = $1"
_ENTITIES = """SELECT w.slug, e.entity_type, e.entity_id
    FROM import_entities e JOIN workspaces w ON w.id = e.workspace_id
    WHERE e.import_id = $1 AND (e.workspace_id, e.entity_type, e.entity_id) > ($2, $3, $4)
    ORDER BY e.workspace_id, e.entity_type, e.entity_id LIMIT $5"""
_OF_ENTITY = "workspace_id = $1 AND entity_type = $2 AND entity_id = $3"
_VERSION = f"SELECT version FROM entities WHERE {_OF_ENTITY}"
_REFS = f"""SELECT id, role, position FROM refs WHERE {_OF_ENTITY}
    UNION ALL SELECT ref_id, NULL, NULL FROM tombstones WHERE workspace_id = $1 AND ref_id = ANY ($4::uuid[])
    ORDER BY role, position"""
_TOUCHES = f"""SELECT type, data->>'role' AS role, data->>'actor' AS actor, ref_id,
        (data->'replaced'->>'ref_id')::uuid AS replaced_id
    FROM events WHERE {_OF_ENTITY} AND decision <> '{DecisionKind.REJECT}' ORDER BY epoch, txid, seq"""


@dataclass(frozen=True, slots=True)
class PostgresImports:
    """`ImportLedger` on Postgres."""

    database: Database

    @observed("imports.begin", layer="repo", span_name="WRITE imports")
    async def begin(self, manifest: str, name: str) -> ImportRun:
        """See the port."""
        row = await self.database.fetchrow(_BEGIN, str(uuid7()), bytes.fromhex(manifest), name)
        run = None if row is None else await self.find(row["id"])
        if run is None:
            raise RuntimeError("imports are never deleted")
        return run

    @observed("imports.announce", layer="repo", span_name="WRITE imports")
    async def announce(self, run_id: str, entities: Sequence[EntityKey]) -> None:
        """See the port."""
        columns = [[each.workspace for each in entities], [each.type for each in entities], [e.id for e in entities]]
        async with self.database.connection() as connection:
            await connection.fetch(_ANNOUNCE, run_id, *columns)
            if await connection.fetchval(_IS_ROLLED_BACK, run_id):
                raise ImportRolledBack(run_id)

    @observed("imports.finish", layer="repo", span_name="WRITE imports")
    async def finish(self, run_id: str, state: RunState, counts: dict[str, int]) -> None:
        """See the port."""
        if await self.database.fetchrow(_FINISH, run_id, state.value, json.dumps(counts)) is None:
            raise ImportRolledBack(run_id)

    @observed("imports.story", layer="repo", span_name="SELECT imports")
    async def story(self, entity: EntityKey, early: Sequence[UUID] = ()) -> EntityStory:
        """See the port: version, refs and log are of one moment; an entity that nobody wrote is told by a look."""
        workspace_id = await self.database.require_workspace_id(entity.workspace)
        key = workspace_id, entity.type, entity.id
        if await self.database.fetchrow(_VERSION, *key) is None:
            return EntityStory()
        async with self.database.locked(()) as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return await _story(connection, key, early)

    @observed("imports.entities", layer="repo", span_name="SELECT imports")
    async def entities(self, run_id: str, after: EntityKey | None, limit: int) -> Sequence[EntityKey]:
        """See the port."""
        place: tuple[int, str, str] = (0, "", "")
        if after is not None:
            place = await self.database.require_workspace_id(after.workspace), after.type, after.id
        return [EntityKey(*row) for row in await self.database.fetch(_ENTITIES, run_id, *place, limit)]

    @observed("imports.runs", layer="repo", span_name="SELECT imports")
    async def runs(self, limit: int) -> Sequence[ImportRun]:
        """See the port."""
        query = f"SELECT {_RUN} FROM imports i ORDER BY i.started_at DESC, i.id DESC LIMIT $1"
        return [_to_run(row) for row in await self.database.fetch(query, limit)]

    @observed("imports.find", layer="repo", span_name="SELECT imports")
    async def find(self, run_id: str) -> ImportRun | None:
        """See the port."""
        row = await self.database.fetchrow(f"SELECT {_RUN} FROM imports i WHERE i.id = $1", run_id)
        return None if row is None else _to_run(row)


async def _story(connection: Connection, key: tuple[int, str, str], early: Sequence[UUID]) -> EntityStory:
    version = await connection.fetchval(_VERSION, *key)
    refs = await connection.fetch(_REFS, *key, early)
    live = tuple(LiveRef(row["id"], row["role"], row["position"]) for row in refs if row["position"] is not None)
    ended = frozenset(row["id"] for row in refs if row["position"] is None)
    told = await connection.fetch(_TOUCHES, *key)
    return EntityStory(version, live, ended, tuple(touch for row in told for touch in _touches(row)))


def _touches(row: Row) -> list[Touch]:
    refs = [row["ref_id"]] + ([] if row["replaced_id"] is None else [row["replaced_id"]])
    return [Touch(row["role"], EventType(row["type"]), row["actor"], ref_id) for ref_id in refs]


def _to_run(row: Row) -> ImportRun:
    return ImportRun(
        row["id"],
        row["manifest"].hex(),
        row["name"],
        RunState(row["state"]),
        row["started_at"],
        row["touched_at"],
        row["entities"],
        json.loads(row["counts"]),
    )
