"""How much workspaces use, on Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.adapters.postgres.database import Database
from service.observability import observed
from service.ports.space import Drift

_PHYSICAL = """
SELECT coalesce(round(sum(b.size::numeric / holders.count)), 0)::bigint AS bytes
FROM workspaces w JOIN holdings h ON h.workspace_id = w.id JOIN blobs b ON b.id = h.blob_id
CROSS JOIN LATERAL (SELECT count(*) FROM holdings o WHERE o.blob_id = h.blob_id) AS holders
WHERE w.slug = $1
"""
_DRIFTED = """
SELECT w.slug, w.used_bytes, w.used_items, held.bytes, held.items
FROM workspaces w LEFT JOIN LATERAL (
    SELECT coalesce(sum(b.size), 0)::bigint AS bytes, count(*) AS items
    FROM holdings h JOIN blobs b ON b.id = h.blob_id WHERE h.workspace_id = w.id
) AS held ON true
WHERE (w.used_bytes, w.used_items) <> (held.bytes, held.items) ORDER BY w.slug
"""
_RECOUNT = """
UPDATE workspaces w SET used_bytes = held.bytes, used_items = held.items
FROM (
    SELECT coalesce(sum(b.size), 0)::bigint AS bytes, count(*) AS items
    FROM workspaces w JOIN holdings h ON h.workspace_id = w.id JOIN blobs b ON b.id = h.blob_id WHERE w.slug = $1
) AS held WHERE w.slug = $1
"""


@dataclass(frozen=True, slots=True)
class PostgresSpace:
    """`Space` on Postgres."""

    database: Database

    @observed("space.physical_bytes", layer="repo", span_name="SELECT holdings")
    async def physical_bytes(self, slug: str) -> int:
        """See the port."""
        [row] = await self.database.survey(_PHYSICAL, slug)
        return int(row["bytes"])

    @observed("space.recount", layer="repo", span_name="UPDATE workspaces")
    async def recount(self, slug: str) -> None:
        """See the port: the row's lock first, then a new statement, which sees what came before it."""
        async with self.database.locked(()) as connection:
            await connection.fetch("SELECT FROM workspaces WHERE slug = $1 FOR UPDATE", slug)
            await connection.execute(_RECOUNT, slug)

    @observed("space.drifted", layer="repo", span_name="SELECT holdings")
    async def drifted(self) -> Sequence[Drift]:
        """See the port."""
        return [Drift(*row) for row in await self.database.survey(_DRIFTED)]
