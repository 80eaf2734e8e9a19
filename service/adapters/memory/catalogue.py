"""Lists of refs in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.adapters.memory.database import MemoryDatabase
from service.domain.ref import Ref, RefState, ResolvedRef
from service.ports.catalogue import MediaFilter, MediaPage
from service.schemas.media_cursor import MediaCursor

Key = tuple[datetime | None, UUID]


@dataclass(frozen=True, slots=True)
class MemoryCatalogue:
    """`Catalogue` in memory."""

    database: MemoryDatabase

    async def page(self, workspace: str, after: str | None, limit: int, wanted: MediaFilter) -> MediaPage:
        """See the port."""
        self.database.workspace(workspace)
        by_trashed_at = wanted.state is RefState.TRASHED
        cursor = None if after is None else MediaCursor.parse(after, by_trashed_at=by_trashed_at)

        def place(resolved: ResolvedRef) -> MediaCursor:
            return MediaCursor.of(resolved.ref, by_trashed_at=by_trashed_at)

        found = [resolved for resolved in self.database.refs(workspace) if _fits(resolved, wanted)]
        listed = sorted(found, key=place, reverse=True)
        rest = [resolved for resolved in listed if cursor is None or place(resolved) < cursor]
        items = tuple(rest[:limit])
        return MediaPage(items, str(place(items[-1])) if len(rest) > limit else None)


def _fits(resolved: ResolvedRef, wanted: MediaFilter) -> bool:
    ref = resolved.ref
    asked = (wanted.state, wanted.entity_type, wanted.entity_id, wanted.role, wanted.sha256)
    has = (ref.state, ref.entity.type, ref.entity.id, ref.role, ref.sha256)
    alike = all(ours in {None, theirs} for ours, theirs in zip(asked, has, strict=True))
    return alike and _is_named(ref, wanted) and _is_of_type(resolved.blob.media.media_type, wanted.media_type)


def _is_named(ref: Ref, wanted: MediaFilter) -> bool:
    return wanted.ref_ids is None or ref.ref_id in wanted.ref_ids


def _is_of_type(media_type: str, wanted: str | None) -> bool:
    if wanted is not None and wanted.endswith("/*"):
        return media_type.startswith(wanted.removesuffix("*"))
    return wanted in {None, media_type}
