"""Rows to domain values: the only code that knows the columns' order and names."""

from __future__ import annotations

from service.adapters.postgres.database import Row
from service.domain.blob import Blob, MediaInfo, Sha256
from service.domain.placeholder import Placeholder
from service.domain.policy import Visibility
from service.domain.ref import Holding, Labels, Original, Ref, RefState, ResolvedRef
from service.domain.slot import EntityKey

BLOB_COLUMNS = """b.sha256, b.size, b.media_type, b.width, b.height, b.frames, b.duration_ms, b.readable,
    b.thumbhash, b.colour, b.aspect, h.acquired_at"""
"""Of `blobs b` joined with the workspace's `holdings h`; `h.acquired_at` is when this workspace got the blob."""

_LOOK_FIELDS = ("media_type", "width", "height", "frames", "duration_ms", "readable", "thumbhash", "colour", "aspect")
_BLOB_FIELDS = ("sha256", "size", *_LOOK_FIELDS, "acquired_at")
ASKED_BLOB_COLUMNS = ", ".join(f"asked.{name} AS asked_{name}" for name in _BLOB_FIELDS)
"""The same of a subquery `asked`, for a row that has another blob's columns too."""

REF_COLUMNS = """r.id, w.slug AS workspace, r.entity_type, r.entity_id, r.role, r.position, r.former_position, r.state,
    r.visibility, r.filename, r.alt, r.owner, r.created_at, r.trashed_at, r.purge_after, r.original_sha256,
    r.original_blob_id IS NOT NULL AS original_kept"""
"""Of `refs r` joined with `workspaces w`; together with BLOB_COLUMNS they make a resolved ref."""

RESOLVED_REFS = f"""
SELECT {REF_COLUMNS}, {BLOB_COLUMNS}
FROM refs r
JOIN workspaces w ON w.id = r.workspace_id
JOIN blobs b ON b.id = r.blob_id
JOIN holdings h ON h.workspace_id = r.workspace_id AND h.blob_id = r.blob_id
"""


def to_blob(row: Row, prefix: str = "") -> Blob:
    """From BLOB_COLUMNS, or from ASKED_BLOB_COLUMNS with the prefix `asked_`."""
    media_type, width, height, frames, duration_ms, readable, thumbhash, colour, aspect = (
        row[prefix + name] for name in _LOOK_FIELDS
    )
    look = None if thumbhash is None else Placeholder(thumbhash, colour, aspect)
    media = MediaInfo(media_type, width, height, frames, duration_ms, readable, look)
    return Blob(Sha256(row[f"{prefix}sha256"].hex()), row[f"{prefix}size"], media, row[f"{prefix}acquired_at"])


def look_of(media: MediaInfo) -> tuple[object, ...]:
    """The columns of `blobs` that tell what was found, from `media_type` to `readable`, and the placeholder's three."""
    look = media.placeholder
    found = (media.media_type, media.width, media.height, media.frames, media.duration_ms, media.readable)
    return *found, *((None,) * 3 if look is None else (look.thumbhash, look.colour, look.aspect))


def to_resolved_ref(row: Row) -> ResolvedRef:
    """From REF_COLUMNS and BLOB_COLUMNS."""
    original = row["original_sha256"]
    ref = Ref(
        row["id"],
        EntityKey(row["workspace"], row["entity_type"], row["entity_id"]),
        row["role"],
        row["position"],
        RefState(row["state"]),
        Visibility(row["visibility"]),
        Sha256(row["sha256"].hex()),
        Labels(row["filename"], row["alt"], row["owner"]),
        row["created_at"],
        row["trashed_at"],
        row["purge_after"],
        row["former_position"],
        None if original is None else Original(Sha256(original.hex()), row["original_kept"]),
    )
    return ResolvedRef(ref, to_blob(row))


def to_holding(workspace: str, row: Row) -> Holding | None:
    """From `sha256, size, acquired_at, lease_until`, None where an outer join found no holding."""
    if row["acquired_at"] is None:
        return None
    return Holding(workspace, Sha256(row["sha256"].hex()), row["size"], row["acquired_at"], row["lease_until"])
