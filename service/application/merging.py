"""Two sorted streams side by side: what the database knows, and what the store has."""

from __future__ import annotations

from collections.abc import AsyncIterator

from service.domain.errors import StorageUnavailable
from service.ports.integrity import Integrity, KnownObject
from service.ports.storage import StoredObject

PAGE = 500

Pair = tuple[KnownObject | None, StoredObject | None]


async def known_objects(integrity: Integrity) -> AsyncIterator[KnownObject]:
    """Every row in the order of keys, a page at a time: each is as it was when its page was read."""
    after = ""
    while page := await integrity.known(after, PAGE):
        for known in page:
            yield known
        after = page[-1].key


async def merged(known: AsyncIterator[KnownObject], stored: AsyncIterator[StoredObject]) -> AsyncIterator[Pair]:
    """Each key once, in ascending order, with what either side says of it.

    Raises `StorageUnavailable` for a store that does not list in order: nothing could be said then.
    """
    row, found = await anext(known, None), await _next(stored, "")
    while row is not None or found is not None:
        if found is None or (row is not None and row.key < found.key):
            yield row, None
            row = await anext(known, None)
        elif row is None or found.key < row.key:
            yield None, found
            found = await _next(stored, found.key)
        else:
            yield row, found
            row, found = await anext(known, None), await _next(stored, found.key)


async def _next(stored: AsyncIterator[StoredObject], after: str) -> StoredObject | None:
    found = await anext(stored, None)
    if found is not None and found.key <= after:
        raise StorageUnavailable("The store does not list its keys in order.")
    return found
