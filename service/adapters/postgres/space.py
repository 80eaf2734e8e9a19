"""How much workspaces use, on Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.adapters.postgres.database import SURVEY_SECONDS, Database
from service.adapters.postgres.locks import lock_of
from service.observability import observed
from service.ports.space import Drift

_PHYSICAL = """
SELECT coalesce(round(sum(b.size::numeric / holders.count)), 0)::bigint AS bytes
FROM workspaces w JOIN holdings h ON h.workspace_id = w.id JOIN blobs b ON b.id = h.blob_id
CROSS JOIN LATERAL (SELECT count(*) FROM holdings o WHERE o.blob_id = h.blob_id) AS holders
WHERE w.slug = $1
"""
# Charge and holdings change in one transaction, so that in one snapshot their difference is the drift, whatever else is
# under way: it is taken from the row as it is once the count is done, and nobody waits for the count.
_MISTAKE = """
SELECT w.used_bytes - coalesce(sum(b.size), 0)::bigint AS bytes, w.used_items - count(b.id) AS items
FROM workspaces w LEFT JOIN holdings h ON h.workspace_id = w.id LEFT JOIN blobs b ON b.id = h.blob_id
WHERE w.slug = $1 GROUP BY w.id
"""
_RECOUNT = "UPDATE workspaces SET used_bytes = used_bytes - $2, used_items = used_items - $3 WHERE slug = $1"
_DRIFTED = """
SELECT w.slug, w.used_bytes, w.used_items, held.bytes, held.items
FROM workspaces w LEFT JOIN LATERAL (
    SELECT coalesce(sum(b.size), 0)::bigint AS bytes, count(*) AS items
    FROM holdings h JOIN blobs b ON b.id = h.blob_id WHERE h.workspace_id = w.id
) AS held ON true
WHERE (w.used_bytes, w.used_items) <> (held.bytes, held.items) ORDER BY w.slug
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
        """See the port. The lock is for others who do the same: a mistake is taken back once."""
        async with self.database.unhurried([lock_of("recount", slug)]) as connection:
            for row in await connection.fetch(_MISTAKE, slug, timeout=SURVEY_SECONDS):
                await connection.execute(_RECOUNT, slug, row["bytes"], row["items"])

    @observed("space.drifted", layer="repo", span_name="SELECT holdings")
    async def drifted(self) -> Sequence[Drift]:
        """See the port."""
        return [Drift(*row) for row in await self.database.survey(_DRIFTED)]
