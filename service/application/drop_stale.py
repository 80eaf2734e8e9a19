"""Renditions that no preset would make any more end: their definition changed, or their preset is gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from service.domain.policy import Policies
from service.ports.renditions import Renditions


@dataclass(frozen=True, slots=True)
class DropStale:
    """`current` are the definitions of this deployment's presets.

    What is younger than `min_age` stays: while replicas with two policy files run side by side, none undoes at once
    what the other makes. What is dropped wrongly is made again.
    """

    renditions: Renditions
    current: frozenset[str]
    min_age: timedelta

    async def __call__(self, limit: int) -> int:
        """Forget up to `limit` of them; returns how many. Raises `Unavailable`."""
        return await self.renditions.drop_stale(self.current, self.min_age, limit)

    async def due(self) -> int:
        """How many could be forgotten now; counting stops at 100,000. Raises `Unavailable`."""
        return await self.renditions.count_stale(self.current, self.min_age)

    def ends(self, definition: str, made: datetime) -> datetime | None:
        """When a rendition may go, None while a preset would make it."""
        return None if definition in self.current else made + self.min_age


def current_definitions(policies: Policies, engine: str) -> frozenset[str]:
    """What the presets of these policies are told by, as this engine carries them out."""
    return frozenset(preset.definition(engine) for preset in policies.presets)
