"""A workspace's refs as a list to leaf through: what is shown, and the recycle bin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from service.domain.blob import Sha256
from service.domain.ref import RefState, ResolvedRef


@dataclass(frozen=True, slots=True)
class MediaFilter:
    """Only refs with these; None does not narrow. `media_type` is `type/subtype` or `type/*`."""

    state: RefState | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    role: str | None = None
    sha256: Sha256 | None = None
    media_type: str | None = None
    ref_ids: tuple[UUID, ...] | None = None


@dataclass(frozen=True, slots=True)
class MediaPage:
    """`next_cursor` is None after the last page."""

    items: tuple[ResolvedRef, ...]
    next_cursor: str | None


class Catalogue(Protocol):
    """Refs, live and trashed, the newest first; the trash alone by when it got them, the latest first."""

    async def page(self, workspace: str, after: str | None, limit: int, wanted: MediaFilter) -> MediaPage:
        """Up to `limit` refs after the cursor (None: from the first).

        Fewer, even none, with a `next_cursor`: no more were looked at, and there may be others behind it.
        A ref that stays as it is comes on exactly one page, whatever happens to others meanwhile. Raises `BadCursor`,
        also for a cursor of the other order, and `NotFound` for an unknown workspace.
        """
