"""API keys and workspaces on Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.adapters.postgres.claims import NOBODYS, attempt, claim_lock, store_answer, stored_answer
from service.adapters.postgres.database import Database, Row
from service.adapters.postgres.locks import lock_of
from service.domain.errors import NotFound
from service.observability import observed
from service.ports.access import ApiKey, Scope, Workspace, WorkspaceOutcome
from service.ports.idempotency import Claim, Replay

_KEYS = """SELECT k.id, k.secret_hash, k.name, k.scopes, w.slug, k.created_at, k.revoked_at
FROM api_keys k LEFT JOIN workspaces w ON w.id = k.workspace_id"""
_WORKSPACE = "slug, max_bytes, max_items, used_bytes, used_items, created_at"
_PUT = f"""INSERT INTO workspaces (slug, max_bytes, max_items) VALUES ($1, $2, $3)
ON CONFLICT (slug) DO UPDATE SET max_bytes = EXCLUDED.max_bytes, max_items = EXCLUDED.max_items
RETURNING {_WORKSPACE}"""


@dataclass(frozen=True, slots=True)
class PostgresKeys:
    """`KeyStore` on Postgres."""

    database: Database

    @observed("keys.find", layer="repo", span_name="SELECT api_keys")
    async def find(self, key_id: str) -> ApiKey | None:
        """See the port."""
        row = await self.database.fetchrow(f"{_KEYS} WHERE k.id = $1", key_id)
        return None if row is None else _to_key(row)

    async def add(self, key: ApiKey) -> None:
        """See the port."""
        workspace_id = None if key.workspace is None else await self.database.require_workspace_id(key.workspace)
        await self.database.fetch(
            "INSERT INTO api_keys (id, secret_hash, name, scopes, workspace_id) VALUES ($1, $2, $3, $4, $5)",
            key.id,
            key.secret_hash,
            key.name,
            sorted(key.scopes),
            workspace_id,
        )

    async def all(self) -> Sequence[ApiKey]:
        """See the port."""
        return [_to_key(row) for row in await self.database.fetch(f"{_KEYS} ORDER BY k.created_at, k.id")]

    async def revoke(self, key_id: str) -> ApiKey:
        """See the port."""
        await self.database.fetch(
            "UPDATE api_keys SET revoked_at = refkeep_now() WHERE id = $1 AND revoked_at IS NULL", key_id
        )
        key = await self.find(key_id)
        if key is None:
            raise NotFound(f"There is no key {key_id}.")
        return key


@dataclass(frozen=True, slots=True)
class PostgresWorkspaces:
    """`WorkspaceStore` on Postgres."""

    database: Database

    async def find(self, slug: str) -> Workspace | None:
        """See the port."""
        row = await self.database.fetchrow(f"SELECT {_WORKSPACE} FROM workspaces WHERE slug = $1", slug)
        return None if row is None else Workspace(*row)

    async def exists(self, slug: str) -> bool:
        """See the port."""
        return await self.database.workspace_id(slug) is not None

    @observed("workspaces.put", layer="repo", span_name="WRITE workspaces")
    async def put(
        self,
        slug: str,
        max_bytes: int | None,
        max_items: int | None,
        claim: Claim[WorkspaceOutcome] | None = None,
    ) -> WorkspaceOutcome | Replay:
        """See the port."""

        async def run() -> WorkspaceOutcome | Replay:
            async with self.database.locked([*claim_lock("", claim), lock_of("workspace", slug)]) as connection:
                if (replay := await stored_answer(connection, NOBODYS, claim)) is not None:
                    return replay
                is_new = await connection.fetchrow("SELECT FROM workspaces WHERE slug = $1", slug) is None
                [row] = await connection.fetch(_PUT, slug, max_bytes, max_items)
                outcome = WorkspaceOutcome(Workspace(*row), is_new)
                await store_answer(connection, NOBODYS, claim, outcome)
                return outcome

        return await attempt(self.database, "", claim, run)

    async def ensure(self, slug: str) -> Workspace:
        """See the port."""
        await self.database.fetch("INSERT INTO workspaces (slug) VALUES ($1) ON CONFLICT (slug) DO NOTHING", slug)
        found = await self.find(slug)
        if found is None:
            raise RuntimeError("workspaces are never deleted")
        return found

    async def all(self) -> Sequence[Workspace]:
        """See the port."""
        return [
            Workspace(*row) for row in await self.database.fetch(f"SELECT {_WORKSPACE} FROM workspaces ORDER BY slug")
        ]


def _to_key(row: Row) -> ApiKey:
    scopes = frozenset(Scope(scope) for scope in row["scopes"])
    return ApiKey(row["id"], row["secret_hash"], row["name"], scopes, row["slug"], row["created_at"], row["revoked_at"])
