"""API keys and workspaces: who may call, and for whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from service.ports.idempotency import Claim, Replay


class Scope(StrEnum):
    """What a key may do; `operator` only on keys bound to all workspaces."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored: the SHA-256 of its secret, its scopes, its workspace (None: all of them)."""

    id: str
    secret_hash: bytes
    name: str
    scopes: frozenset[Scope]
    workspace: str | None
    created_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tenant: its quota (None: no limit) and what it uses, in bytes and items."""

    slug: str
    max_bytes: int | None
    max_items: int | None
    used_bytes: int
    used_items: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class WorkspaceOutcome:
    """What became of a request: the workspace as it is now."""

    workspace: Workspace
    is_new: bool


class KeyStore(Protocol):
    """API keys by id."""

    async def find(self, key_id: str) -> ApiKey | None:
        """The key, revoked or not."""

    async def add(self, key: ApiKey) -> None:
        """Store a new key. Raises `NotFound` when its workspace does not exist."""

    async def all(self) -> Sequence[ApiKey]:
        """Every key, oldest first."""

    async def revoke(self, key_id: str) -> ApiKey:
        """End a key now; again changes nothing. Raises `NotFound`."""


class WorkspaceStore(Protocol):
    """Workspaces by slug."""

    async def find(self, slug: str) -> Workspace | None:
        """The workspace or None."""

    async def exists(self, slug: str) -> bool:
        """Whether there is such a workspace; cheap, for every request that names one."""

    async def put(
        self,
        slug: str,
        max_bytes: int | None,
        max_items: int | None,
        claim: Claim[WorkspaceOutcome] | None = None,
    ) -> WorkspaceOutcome | Replay:
        """Create it, or give it another quota; of several at the same time one creates it.

        Keys of idempotency are the operators' own, as those of holds are. Raises `IdempotencyKeyReuse`,
        `IdempotencyInProgress`, `Unavailable`.
        """

    async def ensure(self, slug: str) -> Workspace:
        """Create it without a quota unless it exists."""

    async def all(self) -> Sequence[Workspace]:
        """Every workspace by slug."""
