"""Why bytes are still there, on Postgres: one snapshot of everything that points at them."""

from __future__ import annotations

from dataclasses import dataclass

from service.adapters.postgres.database import Database, Row
from service.domain.blob import Sha256
from service.domain.slot import EntityKey
from service.observability import observed
from service.ports.reasons import BlobReasons, Copy, Reason, ReasonKind, UsedBy

_MANY = 1000
# Of each workspace's refs only so many are read, in the order of an index: of refs to one blob there is no end.
# $1 the hash, $2 the workspace or NULL for all of them.
REASONS = f"""
SELECT 'hold' AS kind, NULL AS slug, placed_at AS since, NULL::timestamptz AS until,
    NULL::uuid AS ref_id, NULL AS entity_type, NULL AS entity_id, NULL AS role, NULL::bytea AS parent,
    NULL AS definition
FROM holds WHERE sha256 = $1
UNION ALL (
    SELECT CASE r.state WHEN 'live' THEN 'ref' ELSE 'trash' END, w.slug, coalesce(r.trashed_at, r.created_at),
        r.purge_after, r.id, r.entity_type, r.entity_id, r.role, NULL, NULL
    FROM blobs b JOIN holdings h ON h.blob_id = b.id JOIN workspaces w ON w.id = h.workspace_id
    CROSS JOIN LATERAL (
        SELECT * FROM refs WHERE workspace_id = h.workspace_id AND blob_id = h.blob_id ORDER BY id
        LIMIT {_MANY + 1}) AS r
    WHERE b.sha256 = $1 AND ($2::text IS NULL OR w.slug = $2)
    ORDER BY r.state, w.slug, r.id LIMIT {_MANY + 1})
UNION ALL (
    SELECT 'original', w.slug, r.created_at, r.purge_after, r.id, r.entity_type, r.entity_id, r.role, NULL, NULL
    FROM blobs b JOIN holdings h ON h.blob_id = b.id JOIN workspaces w ON w.id = h.workspace_id
    CROSS JOIN LATERAL (
        SELECT * FROM refs WHERE workspace_id = h.workspace_id AND original_blob_id = h.blob_id ORDER BY id
        LIMIT {_MANY + 1}) AS r
    WHERE b.sha256 = $1 AND ($2::text IS NULL OR w.slug = $2)
    ORDER BY w.slug, r.id LIMIT {_MANY + 1})
UNION ALL (
    SELECT 'rendition', NULL, r.created_at, NULL, NULL, NULL, NULL, NULL, parent.sha256, r.definition
    FROM blobs b JOIN renditions r ON r.blob_id = b.id JOIN blobs parent ON parent.id = r.parent_id
    WHERE b.sha256 = $1 AND $2::text IS NULL
    ORDER BY parent.sha256 LIMIT {_MANY + 1})
UNION ALL (
    SELECT 'holding', w.slug, h.acquired_at, h.lease_until, NULL, NULL, NULL, NULL, NULL, NULL
    FROM blobs b JOIN holdings h ON h.blob_id = b.id JOIN workspaces w ON w.id = h.workspace_id
    WHERE b.sha256 = $1 AND ($2::text IS NULL OR w.slug = $2)
    ORDER BY w.slug LIMIT {_MANY + 1})
"""
_NEXT_REVIEW = """
SELECT min(due) AS due FROM (
    SELECT r.due FROM blobs b JOIN holding_reviews r ON r.blob_id = b.id JOIN workspaces w ON w.id = r.workspace_id
    WHERE b.sha256 = $1 AND ($2::text IS NULL OR w.slug = $2)
    UNION ALL
    SELECT r.due FROM blobs b JOIN blob_reviews r ON r.blob_id = b.id WHERE b.sha256 = $1 AND $2::text IS NULL
) AS reviews
"""
_COPIES = """
SELECT state, size, created_at, delete_after FROM objects WHERE sha256 = $1 AND $2::text IS NULL ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class PostgresReasons:
    """`Reasons` on Postgres."""

    database: Database

    @observed("reasons.of_blob", layer="repo", span_name="SELECT reasons")
    async def of_blob(self, sha256: Sha256, workspace: str | None) -> BlobReasons | None:
        """See the port."""
        asked = (bytes.fromhex(sha256), workspace)
        async with self.database.locked(()) as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            rows = await connection.fetch(REASONS, *asked)
            due = await connection.fetchval(_NEXT_REVIEW, *asked)
            copies = await connection.fetch(_COPIES, *asked)
        reasons = [_to_reason(row) for row in rows]
        if not copies and not any(reason.kind is not ReasonKind.HOLD or workspace is None for reason in reasons):
            return None
        held = tuple(Copy(row["state"], row["size"], row["created_at"], row["delete_after"]) for row in copies)
        return BlobReasons(tuple(reasons[:_MANY]), len(reasons) <= _MANY, due, held)


def _to_reason(row: Row) -> Reason:
    used_by = None
    if row["ref_id"] is not None:
        used_by = UsedBy(row["ref_id"], EntityKey(row["slug"], row["entity_type"], row["entity_id"]), row["role"])
    parent = None if row["parent"] is None else Sha256(row["parent"].hex())
    return Reason(ReasonKind(row["kind"]), row["slug"], row["since"], row["until"], used_by, parent, row["definition"])
