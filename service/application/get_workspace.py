"""What a workspace may use, and what it uses."""

from __future__ import annotations

from dataclasses import dataclass

from service.domain.errors import NotFound
from service.observability import observed
from service.ports.access import Workspace, WorkspaceStore
from service.ports.space import Space


@dataclass(frozen=True, slots=True)
class WorkspaceUse:
    """A workspace with its quota and charged use, and its share of the store where that was asked for."""

    workspace: Workspace
    physical_bytes: int | None


@dataclass(frozen=True, slots=True)
class GetWorkspace:
    """Find a workspace."""

    workspaces: WorkspaceStore
    space: Space

    @observed("workspace.get", layer="usecase")
    async def __call__(self, slug: str, *, physical: bool) -> WorkspaceUse:
        """With `physical`, everything that the workspace holds is counted, which takes a while. Raises `NotFound`."""
        workspace = await self.workspaces.find(slug)
        if workspace is None:
            raise NotFound(f"There is no workspace {slug}.")
        return WorkspaceUse(workspace, await self.space.physical_bytes(slug) if physical else None)
