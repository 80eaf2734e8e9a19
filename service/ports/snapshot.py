"""What a workspace shows, for those who then follow the feed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from service.domain.ref import ResolvedRef
from service.domain.slot import EntityKey


@dataclass(frozen=True, slots=True)
class EntitySnapshot:
    """All live refs of an entity, and the version that made them so: of one moment."""

    entity: EntityKey
    version: int
    refs: tuple[ResolvedRef, ...]


class Snapshot(Protocol):
    """A workspace's live refs, entity by entity."""

    async def page(self, workspace: str, after: EntityKey | None, limit: int) -> tuple[EntitySnapshot, ...]:
        """Entities behind `after` that have live refs, in an order of their own; none at the end.

        Each is whole and of one moment, the page is no larger than about `limit` refs, or one entity. Raises
        `NotFound`.
        """
