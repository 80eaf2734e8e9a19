"""Who is calling."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from service.domain.credentials import parse_token
from service.domain.errors import Unauthorized
from service.ports.access import ApiKey, KeyStore, Scope

REMEMBER_SECONDS = 3.0
_REMEMBER_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Principal:
    """The holder of a valid key.

    `workspace` is the one it is bound to, or a development key's default, or None: then it must name one.
    """

    key_id: str
    scopes: frozenset[Scope]
    workspace: str | None
    bound: bool


@dataclass(slots=True)
class Authenticate:
    """Turn a token into a principal.

    Keys are remembered for `REMEMBER_SECONDS`, so that a revoked one is dead within 5 s everywhere; failures never are.
    """

    keys: KeyStore
    default_workspaces: dict[str, str] = field(default_factory=dict)
    """By key id: the workspace of an unbound key that names none (the development key's `demo`)."""
    _known: dict[str, tuple[float, ApiKey]] = field(default_factory=dict)

    async def __call__(self, token: str) -> Principal:
        """Raises `Unauthorized`, the same for every reason."""
        credentials = parse_token(token)
        if credentials is None:
            raise Unauthorized
        key = await self._find(credentials.id)
        if key is None or not credentials.matches(key.secret_hash) or key.revoked_at is not None:
            raise Unauthorized
        bound = key.workspace is not None
        return Principal(key.id, key.scopes, key.workspace or self.default_workspaces.get(key.id), bound)

    async def _find(self, key_id: str) -> ApiKey | None:
        expires, key = self._known.get(key_id, (0.0, None))
        if key is not None and expires > monotonic():
            return key
        found = await self.keys.find(key_id)
        if len(self._known) >= _REMEMBER_KEYS:
            self._known.clear()
        if found is not None:
            self._known[key_id] = (monotonic() + REMEMBER_SECONDS, found)
        return found
