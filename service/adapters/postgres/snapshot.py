"""Snapshots on Postgres: whole entities, one short statement a page."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from service.adapters.postgres.database import Database, Row
from service.adapters.postgres.rows import RESOLVED_REFS, to_resolved_ref
from service.domain.slot import EntityKey
from service.observability import observed
from service.ports.snapshot import EntitySnapshot

_LIVE = f"""
SELECT live.*, e.version FROM (
    {RESOLVED_REFS} WHERE r.workspace_id = $1 AND r.position IS NOT NULL AND {{which}}
    ORDER BY r.entity_type, r.entity_id, r.role, r.position {{limit}}) AS live
JOIN entities e ON e.workspace_id = $1 AND e.entity_type = live.entity_type AND e.entity_id = live.entity_id
ORDER BY live.entity_type, live.entity_id, live.role, live.position
"""
_BEHIND = _LIVE.format(which="(r.entity_type, r.entity_id) > ($2, $3)", limit="LIMIT $4")
_WHOLE = _LIVE.format(which="r.entity_type = $2 AND r.entity_id = $3", limit="")


@dataclass(frozen=True, slots=True)
class PostgresSnapshot:
    """`Snapshot` on Postgres."""

    database: Database

    @observed("refs.snapshot", layer="repo", span_name="SELECT refs")
    async def page(self, workspace: str, after: EntityKey | None, limit: int) -> tuple[EntitySnapshot, ...]:
        """See the port. Where the limit cuts an entity in two, it is left for the next page, or read alone."""
        return await self._page(await self.database.require_workspace_id(workspace), after, limit)

    async def _page(self, workspace_id: int, after: EntityKey | None, limit: int) -> tuple[EntitySnapshot, ...]:
        start = ("", "") if after is None else (after.type, after.id)
        rows = await self.database.fetch(_BEHIND, workspace_id, *start, limit)
        entities = _entities(rows)
        if len(rows) < limit:
            return entities
        if len(entities) > 1:
            return entities[:-1]
        only = entities[0].entity
        whole = _entities(await self.database.fetch(_WHOLE, workspace_id, only.type, only.id))
        return whole or await self._page(workspace_id, only, limit)  # released in between: not the end


def _entities(rows: list[Row]) -> tuple[EntitySnapshot, ...]:
    grouped = groupby(rows, key=lambda row: (row["workspace"], row["entity_type"], row["entity_id"], row["version"]))
    return tuple(
        EntitySnapshot(EntityKey(*key[:3]), key[3], tuple(to_resolved_ref(row) for row in found))
        for key, found in grouped
    )
