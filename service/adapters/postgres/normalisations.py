"""What a workspace's pictures became, on Postgres. The holdings' foreign keys make it forget by itself."""

from __future__ import annotations

from dataclasses import dataclass

from service.adapters.postgres.database import Database
from service.domain.blob import Sha256
from service.observability import observed

_RECALL = """
SELECT b.sha256 FROM blobs asked
JOIN normalisations n ON n.workspace_id = $1 AND n.blob_id = asked.id AND n.definition = $3
JOIN blobs b ON b.id = coalesce(n.result_id, n.blob_id)
WHERE asked.sha256 = $2 AND b.health = 'ok'
"""
# Both holdings are locked before the row refers to them: one that is ending is waited for, and then not found.
_REMEMBER = """
WITH sent AS MATERIALIZED (
    SELECT h.workspace_id, h.blob_id FROM holdings h JOIN blobs b ON b.id = h.blob_id
    WHERE h.workspace_id = $1 AND b.sha256 = $2 FOR KEY SHARE OF h),
result AS MATERIALIZED (
    SELECT h.blob_id FROM holdings h JOIN blobs b ON b.id = h.blob_id
    WHERE h.workspace_id = $1 AND b.sha256 = $4 FOR KEY SHARE OF h)
INSERT INTO normalisations (workspace_id, blob_id, definition, result_id)
SELECT sent.workspace_id, sent.blob_id, $3, nullif(result.blob_id, sent.blob_id) FROM sent CROSS JOIN result
ON CONFLICT (workspace_id, blob_id, definition) DO UPDATE SET result_id = EXCLUDED.result_id
"""


@dataclass(frozen=True, slots=True)
class PostgresNormalisations:
    """`Normalisations` on Postgres."""

    database: Database

    @observed("normalisations.recall", layer="repo", span_name="SELECT normalisations")
    async def recall(self, workspace: str, sha256: Sha256, definition: str) -> Sha256 | None:
        """See the port."""
        workspace_id = await self.database.require_workspace_id(workspace)
        row = await self.database.fetchrow(_RECALL, workspace_id, bytes.fromhex(sha256), definition)
        return None if row is None else Sha256(row["sha256"].hex())

    @observed("normalisations.remember", layer="repo", span_name="INSERT normalisations")
    async def remember(self, workspace: str, sha256: Sha256, definition: str, result: Sha256) -> None:
        """See the port."""
        workspace_id = await self.database.require_workspace_id(workspace)
        names = (bytes.fromhex(sha256), definition, bytes.fromhex(result))
        await self.database.fetch(_REMEMBER, workspace_id, *names)
