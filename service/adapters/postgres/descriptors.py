"""What delivery needs to know, one statement each."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from service.adapters.postgres.database import Database, Row
from service.domain.blob import Sha256
from service.domain.health import Health
from service.domain.policy import Visibility
from service.domain.ref import RefState
from service.observability import observed
from service.ports.descriptors import BlobDescriptor, MediaDescriptor, PurgedMedia, ServableBytes
from service.ports.trash import TOMBSTONE

_OF_BLOB = """
SELECT b.sha256, b.size, b.media_type, b.health, o.key,
    EXISTS (SELECT FROM refs r WHERE r.blob_id = b.id AND r.visibility = 'public' AND r.state = 'live') AS is_public,
    EXISTS (
        SELECT FROM holdings h JOIN workspaces w ON w.id = h.workspace_id WHERE h.blob_id = b.id AND w.slug = $2
    ) AS is_held,
    (SELECT status FROM holds WHERE blob_id = b.id) AS hold
FROM blobs b JOIN objects o ON o.id = b.object_id WHERE b.sha256 = $1
"""
_OF_REF = """
SELECT b.sha256, b.size, b.media_type, b.health, o.key, r.id, r.visibility, r.state, r.filename, r.created_at,
    coalesce(w.slug = $2, false) AS is_owned, (SELECT status FROM holds WHERE blob_id = b.id) AS hold
FROM refs r
JOIN workspaces w ON w.id = r.workspace_id
JOIN blobs b ON b.id = r.blob_id
JOIN objects o ON o.id = b.object_id
WHERE r.id = $1
"""
_PURGED = """
SELECT coalesce(w.slug = $2, false) AS is_owned FROM tombstones t JOIN workspaces w ON w.id = t.workspace_id
WHERE t.ref_id = $1 AND t.purged_at > refkeep_now() - $3::interval
"""


@dataclass(frozen=True, slots=True)
class PostgresDescriptors:
    """`Descriptors` on Postgres."""

    database: Database

    @observed("descriptors.of_blob", layer="repo", span_name="SELECT blobs")
    async def of_blob(self, sha256: Sha256, workspace: str | None) -> BlobDescriptor | None:
        """See the port."""
        row = await self.database.fetchrow(_OF_BLOB, bytes.fromhex(sha256), workspace)
        if row is None:
            return None
        return BlobDescriptor(_to_bytes(row), public=row["is_public"], held=row["is_held"], hold=row["hold"])

    @observed("descriptors.of_ref", layer="repo", span_name="SELECT refs")
    async def of_ref(self, ref_id: UUID, workspace: str | None) -> MediaDescriptor | PurgedMedia | None:
        """See the port."""
        row = await self.database.fetchrow(_OF_REF, ref_id, workspace)
        if row is None:
            gone = await self.database.fetchrow(_PURGED, ref_id, workspace, TOMBSTONE)
            return None if gone is None else PurgedMedia(gone["is_owned"])
        return MediaDescriptor(
            row["id"],
            _to_bytes(row),
            Visibility(row["visibility"]),
            RefState(row["state"]),
            row["is_owned"],
            row["filename"],
            row["created_at"],
            row["hold"],
        )


def _to_bytes(row: Row) -> ServableBytes:
    return ServableBytes(Sha256(row["sha256"].hex()), row["size"], row["media_type"], row["key"], Health(row["health"]))
