"""What delivery needs to know, one statement for all who ask at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from service.adapters.gathering import Gathering
from service.adapters.postgres.database import Database, Row
from service.domain.blob import Sha256
from service.domain.health import Health
from service.domain.policy import RoleRule, Visibility
from service.domain.ref import RefState
from service.observability import observed
from service.ports.descriptors import Admission, BlobDescriptor, MediaDescriptor, PurgedMedia, ServableBytes
from service.ports.trash import TOMBSTONE

# What was sent may be on hold, and what was made of it not: refs that show this say nothing while that lasts.
_SPEAKS = "coalesce((SELECT false FROM holds WHERE holds.sha256 = r.original_sha256), true)"
# No EXISTS: of several blobs, the planner may answer it by reading all refs once.
_OF_BLOB = f"""
SELECT asked.place, b.sha256, b.size, b.media_type, b.health, o.key,
    coalesce((
        SELECT true FROM refs r
        WHERE r.blob_id = b.id AND r.visibility = 'public' AND r.state = 'live' AND {_SPEAKS} LIMIT 1
    ), false) AS is_public,
    coalesce((
        SELECT true FROM holdings h JOIN workspaces w ON w.id = h.workspace_id
        WHERE h.blob_id = b.id AND w.slug = asked.workspace LIMIT 1
    ), false) AS is_held,
    (SELECT status FROM holds WHERE blob_id = b.id) AS hold
FROM unnest($1::bytea[], $2::text[]) WITH ORDINALITY AS asked (sha256, workspace, place)
JOIN blobs b ON b.sha256 = asked.sha256
JOIN objects o ON o.id = b.object_id
"""
_OF_REF = """
SELECT asked.place, b.sha256, b.size, b.media_type, b.health, o.key,
    r.id, r.visibility, r.state, r.filename, r.created_at, r.entity_type, r.role,
    coalesce(w.slug = asked.workspace, false) AS is_owned, coalesce(
        (SELECT status FROM holds WHERE blob_id = b.id), (SELECT status FROM holds WHERE sha256 = r.original_sha256)
    ) AS hold
FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS asked (ref_id, workspace, place)
JOIN refs r ON r.id = asked.ref_id
JOIN workspaces w ON w.id = r.workspace_id
JOIN blobs b ON b.id = r.blob_id
JOIN objects o ON o.id = b.object_id
"""
_ADMITS = """(
    SELECT rule.admits FROM unnest($3::text[], $4::text[], $5::boolean[]) WITH ORDINALITY
        AS rule (entity_type, role, admits, place)
    WHERE rule.entity_type IN ('*', r.entity_type) AND rule.role IN ('*', r.role) ORDER BY rule.place LIMIT 1)"""
# The first ref that admits it ends the search: of a blob that many show, that is nearly always the first of all.
_ADMISSION = f"""
SELECT asked.place,
    coalesce((
        SELECT true FROM refs r
        WHERE r.blob_id = b.id AND r.visibility = 'public' AND r.state = 'live' AND {_SPEAKS} AND {_ADMITS} LIMIT 1
    ), false) AS is_public,
    coalesce((
        SELECT true FROM refs r WHERE r.blob_id = b.id AND {_ADMITS}
            AND r.workspace_id = (SELECT id FROM workspaces WHERE slug = asked.workspace) LIMIT 1
    ), false) AS is_own
FROM unnest($1::bytea[], $2::text[]) WITH ORDINALITY AS asked (sha256, workspace, place)
JOIN blobs b ON b.sha256 = asked.sha256
"""
_PURGED = """
SELECT coalesce(w.slug = $2, false) AS is_owned FROM tombstones t JOIN workspaces w ON w.id = t.workspace_id
WHERE t.ref_id = $1 AND t.purged_at > refkeep_now() - $3::interval
"""


_Admitted = tuple[Sha256, str | None, tuple[RoleRule, ...]]


class PostgresDescriptors:
    """`Descriptors` on Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._blobs = Gathering(self._rows_of_blobs)
        self._refs = Gathering(self._rows_of_refs)
        self._admissions = Gathering(self._rows_of_admissions)

    @observed("descriptors.of_blob", layer="repo", span_name="SELECT blobs")
    async def of_blob(self, sha256: Sha256, workspace: str | None) -> BlobDescriptor | None:
        """See the port."""
        row = await self._blobs.ask((sha256, workspace))
        if row is None:
            return None
        return BlobDescriptor(_to_bytes(row), public=row["is_public"], held=row["is_held"], hold=row["hold"])

    @observed("descriptors.of_ref", layer="repo", span_name="SELECT refs")
    async def of_ref(self, ref_id: UUID, workspace: str | None) -> MediaDescriptor | PurgedMedia | None:
        """See the port."""
        row = await self._refs.ask((ref_id, workspace))
        if row is None:
            gone = await self._database.fetchrow(_PURGED, ref_id, workspace, TOMBSTONE)
            return None if gone is None else PurgedMedia(gone["is_owned"])
        return MediaDescriptor(
            row["id"],
            _to_bytes(row),
            Visibility(row["visibility"]),
            RefState(row["state"]),
            row["is_owned"],
            row["filename"],
            row["created_at"],
            row["entity_type"],
            row["role"],
            row["hold"],
        )

    @observed("descriptors.admission", layer="repo", span_name="SELECT refs")
    async def admission(self, sha256: Sha256, workspace: str | None, roles: Sequence[RoleRule]) -> Admission:
        """See the port."""
        row = await self._admissions.ask((sha256, workspace, tuple(roles)))
        return Admission(False, False) if row is None else Admission(row["is_public"], row["is_own"])

    async def _rows_of_blobs(self, asked: Sequence[tuple[Sha256, str | None]]) -> Sequence[Row | None]:
        names = [bytes.fromhex(sha256) for sha256, _ in asked]
        return _in_place(asked, await self._database.fetch(_OF_BLOB, names, [workspace for _, workspace in asked]))

    async def _rows_of_refs(self, asked: Sequence[tuple[UUID, str | None]]) -> Sequence[Row | None]:
        names = [ref_id for ref_id, _ in asked]
        return _in_place(asked, await self._database.fetch(_OF_REF, names, [workspace for _, workspace in asked]))

    async def _rows_of_admissions(self, asked: Sequence[_Admitted]) -> Sequence[Row | None]:
        """One statement for each set of rules: there are as many as presets."""
        found: dict[_Admitted, Row | None] = {}
        for roles in dict.fromkeys(roles for _, _, roles in asked):
            alike = [each for each in dict.fromkeys(asked) if each[2] == roles]
            names = [bytes.fromhex(sha256) for sha256, _, _ in alike]
            rules = [(each.entity_type, each.role, each.admits) for each in roles]
            columns = [[rule[column] for rule in rules] for column in range(3)]
            rows = await self._database.fetch(_ADMISSION, names, [workspace for _, workspace, _ in alike], *columns)
            found |= zip(alike, _in_place(alike, rows), strict=True)
        return [found[each] for each in asked]


def _in_place(asked: Sequence[object], rows: Iterable[Row]) -> list[Row | None]:
    found = {row["place"]: row for row in rows}
    return [found.get(place) for place in range(1, len(asked) + 1)]


def _to_bytes(row: Row) -> ServableBytes:
    return ServableBytes(Sha256(row["sha256"].hex()), row["size"], row["media_type"], row["key"], Health(row["health"]))
