"""An operator asks what hold is on bytes."""

from __future__ import annotations

from dataclasses import dataclass

from service.domain.blob import Sha256
from service.domain.errors import NotFound
from service.domain.hold import Hold
from service.observability import observed
from service.ports.holds import HoldLedger


@dataclass(frozen=True, slots=True)
class GetHold:
    """Find a hold."""

    holds: HoldLedger

    @observed("hold.get", layer="usecase")
    async def __call__(self, sha256: Sha256) -> Hold:
        """Raises `NotFound`."""
        hold = await self.holds.find(sha256)
        if hold is None:
            raise NotFound("There is no hold on these bytes.")
        return hold
