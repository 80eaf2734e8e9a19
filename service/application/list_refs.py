"""What an entity shows."""

from __future__ import annotations

from dataclasses import dataclass

from service.domain.slot import EntityKey
from service.observability import observed
from service.ports.refs import EntityRefs, RefLedger


@dataclass(frozen=True, slots=True)
class ListRefs:
    """Live refs of an entity, by role and position."""

    refs: RefLedger

    @observed("ref.list", layer="usecase")
    async def __call__(
        self, entity: EntityKey, role: str | None = None, after: tuple[str, int] = ("", 0), limit: int = 500
    ) -> EntityRefs:
        """A page behind the place `after`; version 0 and no refs for an entity that never had any."""
        return await self.refs.of_entity(entity, role, after, limit)
