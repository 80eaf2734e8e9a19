"""An operator makes a workspace, or gives it another quota."""

from __future__ import annotations

from dataclasses import dataclass

from service.observability import observed
from service.ports.access import WorkspaceOutcome, WorkspaceStore
from service.ports.idempotency import Claim, Replay


@dataclass(frozen=True, slots=True)
class PutWorkspace:
    """A lower quota than what is used refuses uploads and removes nothing."""

    workspaces: WorkspaceStore

    @observed("workspace.put", layer="usecase")
    async def __call__(
        self,
        slug: str,
        max_bytes: int | None,
        max_items: int | None,
        claim: Claim[WorkspaceOutcome] | None = None,
    ) -> WorkspaceOutcome | Replay:
        """The workspace, and whether it is new. None is no limit."""
        return await self.workspaces.put(slug, max_bytes, max_items, claim)
