"""Any key store, with what it found remembered for a moment; stacked at the root, beneath authentication."""

from __future__ import annotations

import asyncio
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
        self._asked: dict[str, asyncio.Task[ApiKey | None]] = {}

    async def find(self, key_id: str) -> ApiKey | None:
        """The key, revoked or not."""
        expires, known = self._known.get(key_id, (0.0, None))
        if known is not None and expires > monotonic():
            return known
        return await asyncio.shield(self._asked.get(key_id) or self._ask(key_id))

    async def add(self, key: ApiKey) -> None:
        """Store a new key."""
        await self._store.add(key)

    async def all(self) -> Sequence[ApiKey]:
        """Every key."""
        return await self._store.all()

    async def revoke(self, key_id: str) -> ApiKey:
        """End a key, here at once."""
        self._known.pop(key_id, None)
        self._asked.pop(key_id, None)
        return await self._store.revoke(key_id)

    def _ask(self, key_id: str) -> asyncio.Task[ApiKey | None]:
        """One question for everyone who has the key and comes while it is asked: hundreds of a caller's requests."""
        asked = self._asked[key_id] = asyncio.create_task(self._find(key_id))
        asked.add_done_callback(lambda done: done.cancelled() or done.exception())
        return asked

    async def _find(self, key_id: str) -> ApiKey | None:
        try:
            found = await self._store.find(key_id)
        finally:
            self._asked.pop(key_id, None)
        if found is not None:
            self._remember(found)
        return found

    def _remember(self, key: ApiKey) -> None:
        self._known[key.id] = (monotonic() + REMEMBER_SECONDS, key)
        self._known.move_to_end(key.id)
        if len(self._known) > _MOST_KEYS:
            self._known.popitem(last=False)
