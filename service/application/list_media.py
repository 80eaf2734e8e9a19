"""A workspace's refs as a list: what it shows, and its recycle bin."""

from __future__ import annotations

from dataclasses import dataclass

from service.observability import observed
from service.ports.catalogue import Catalogue, MediaFilter, MediaPage


@dataclass(frozen=True, slots=True)
class ListMedia:
    """A page of the workspace's refs."""

    catalogue: Catalogue

    @observed("media.list", layer="usecase")
    async def __call__(self, workspace: str, after: str | None, limit: int, wanted: MediaFilter) -> MediaPage:
        """The newest first. Raises `BadCursor`."""
        return await self.catalogue.page(workspace, after, limit, wanted)
