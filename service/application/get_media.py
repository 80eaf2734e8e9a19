"""Everything about one ref."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from service.domain.errors import NotFound
from service.domain.ref import ResolvedRef
from service.observability import observed
from service.ports.refs import RefLedger


@dataclass(frozen=True, slots=True)
class GetMedia:
    """Find a ref of the workspace by its id."""

    refs: RefLedger

    @observed("media.get", layer="usecase")
    async def __call__(self, workspace: str, ref_id: UUID) -> ResolvedRef:
        """Raises `NotFound`, also for another workspace's ref."""
        ref = await self.refs.find(workspace, ref_id)
        if ref is None:
            raise NotFound("There is no such media here.")
        return ref
