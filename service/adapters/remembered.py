"""Any key store, with what it found remembered for a moment; stacked at the root, beneath authentication."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from time import monotonic

from service.ports.access import ApiKey, KeyStore

REMEMBER_SECONDS = 3.0
"""A revoked key is dead within 5 s on every replica."""

_MOST_KEYS = 10_000


class RememberedKeys:
    """Answers as `store` does, `REMEMBER_SECONDS` late at most. That a key does not exist is never remembered."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._known: OrderedDict[str, tuple[float, ApiKey]] = OrderedDict()

    async def find(self, key_id: str) -> ApiKey | None:
        """The key, revoked or not."""
        expires, known = self._known.get(key_id, (0.0, None))
        if known is not None and expires > monotonic():
            return known
        found = await self._store.find(key_id)
        if found is not None:
            self._remember(found)
        return found

    async def add(self, key: ApiKey) -> None:
        """Store a new key."""
        await self._store.add(key)

    async def all(self) -> Sequence[ApiKey]:
        """Every key."""
        return await self._store.all()

    async def revoke(self, key_id: str) -> ApiKey:
        """End a key, here at once."""
        self._known.pop(key_id, None)
        return await self._store.revoke(key_id)

    def _remember(self, key: ApiKey) -> None:
        self._known[key.id] = (monotonic() + REMEMBER_SECONDS, key)
        self._known.move_to_end(key.id)
        if len(self._known) > _MOST_KEYS:
            self._known.popitem(last=False)
