"""Who is calling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.domain.credentials import parse_token
from service.domain.errors import Unauthorized
from service.ports.access import KeyStore, Scope


@dataclass(frozen=True, slots=True)
class Principal:
    """The holder of a valid key.

    `workspace` is the one it is bound to, or a development key's default, or None: then it must name one.
    """

    key_id: str
    scopes: frozenset[Scope]
    workspace: str | None
    bound: bool


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Turn a token into a principal."""

    keys: KeyStore
    default_workspaces: Mapping[str, str] = field(default_factory=dict)
    """By key id: the workspace of an unbound key that names none (the development key's `demo`)."""

    async def __call__(self, token: str) -> Principal:
        """Raises `Unauthorized`, the same for every reason."""
        credentials = parse_token(token)
        if credentials is None:
            raise Unauthorized
        key = await self.keys.find(credentials.id)
        if key is None or not credentials.matches(key.secret_hash) or key.revoked_at is not None:
            raise Unauthorized
        bound = key.workspace is not None
        return Principal(key.id, key.scopes, key.workspace or self.default_workspaces.get(key.id), bound)
