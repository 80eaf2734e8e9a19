"""API keys and workspaces in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.adapters.memory.database import MemoryDatabase
from service.domain.errors import NotFound
from service.ports.access import ApiKey, Workspace, WorkspaceOutcome
from service.ports.idempotency import Claim, Replay


@dataclass(frozen=True, slots=True)
class MemoryKeys:
    """`KeyStore` in memory."""

    database: MemoryDatabase

    async def find(self, key_id: str) -> ApiKey | None:
        """See the port."""
        return self.database.keys.get(key_id)

    async def add(self, key: ApiKey) -> None:
        """See the port."""
        if key.workspace is not None:
            self.database.workspace(key.workspace)
        self.database.keys[key.id] = replace(key, created_at=self.database.now())

    async def all(self) -> Sequence[ApiKey]:
        """See the port."""
        return list(self.database.keys.values())

    async def revoke(self, key_id: str) -> ApiKey:
        """See the port."""
        key = self.database.keys.get(key_id)
        if key is None:
            raise NotFound(f"There is no key {key_id}.")
        self.database.keys[key_id] = replace(key, revoked_at=key.revoked_at or self.database.now())
        return self.database.keys[key_id]


@dataclass(frozen=True, slots=True)
class MemoryWorkspaces:
    """`WorkspaceStore` in memory."""

    database: MemoryDatabase

    async def find(self, slug: str) -> Workspace | None:
        """See the port."""
        return self.database.workspaces.get(slug)

    async def exists(self, slug: str) -> bool:
        """See the port."""
        return slug in self.database.workspaces

    async def put(
        self,
        slug: str,
        max_bytes: int | None,
        max_items: int | None,
        claim: Claim[WorkspaceOutcome] | None = None,
    ) -> WorkspaceOutcome | Replay:
        """See the port."""
        if (replay := self.database.replay("", claim)) is not None:
            return replay
        is_new = slug not in self.database.workspaces
        workspace = replace(await self.ensure(slug), max_bytes=max_bytes, max_items=max_items)
        self.database.workspaces[slug] = workspace
        outcome = WorkspaceOutcome(workspace, is_new)
        self.database.answer("", claim, outcome)
        return outcome

    async def ensure(self, slug: str) -> Workspace:
        """See the port."""
        return self.database.workspaces.setdefault(slug, Workspace(slug, None, None, 0, 0, self.database.now()))

    async def all(self) -> Sequence[Workspace]:
        """See the port."""
        return sorted(self.database.workspaces.values(), key=lambda workspace: workspace.slug)
