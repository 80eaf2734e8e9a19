"""A store and, while it is being moved, the other one: what is not here may be there.

Stacked around the own store at the root, so that replicas with the settings of either read what all of them write.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from service.application.guard_store import NOTE
from service.application.standing import StoreStanding
from service.domain.errors import ObjectMissing, RefkeepError, StorageUnavailable, Unavailable
from service.ports.moves import Move
from service.ports.notes import StoreNotes
from service.ports.storage import ByteStream, StagedObject, Storage, StoredObject

REMEMBER_SECONDS = 1.0
"""How long a move that is under way is taken to be so. That there is none counts for removals alone as long."""
_CHECK_SECONDS = 0.5
_REMOVE_SECONDS = 1.0


class OtherStore(Storage, StoreNotes, Protocol):
    """A store that somebody opened."""

    async def aclose(self) -> None:
        """Close it."""


OpenStore = Callable[[str], Awaitable[OtherStore]]
"""Opens the store at a location, without making anything there; raises `StorageUnavailable`."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A move as it was seen."""

    move: Move
    sentinel: str


class Elsewhere:
    """Where else bytes may lie, seen from the store at `own`. Others are opened once they are needed.

    A folder that is not mounted looks empty: another store counts only while it shows a sentinel of this move.
    """

    def __init__(self, standing: StoreStanding, own: str, open_store: OpenStore) -> None:
        self._standing, self._own, self._open_store = standing, own, open_store
        self._stores: dict[str, OtherStore] = {}
        self._opening = asyncio.Lock()
        self._known: _Known | None = None
        self._until = 0.0
        self._is_sure = False

    async def require_own(self) -> None:
        """Raise `StorageUnavailable` where the own store was last seen not to be the database's, and still is not."""
        if not self._is_sure:
            await self._look(surely=True)

    async def all(self, *, surely: bool = True) -> Sequence[Storage]:
        """The other stores: none where nothing is being moved, `surely` as of now.

        Raises `Unavailable`, and `StorageUnavailable` for one that does not answer, or once the own store is none of
        the database's any more: nothing can be said then of what it does not have.
        """
        known = await self._look(surely=surely)
        if known is None:
            return ()
        return [await self._opened(known, each) for each in (known.move.source, known.move.target) if each != self._own]

    async def needed(self) -> Sequence[Storage]:
        """Those without which this process cannot serve all: the old store, for who has the new one already."""
        known = await self._look(surely=True)
        if known is None or known.move.target != self._own:
            return ()
        return [await self._opened(known, known.move.source)]

    async def aclose(self) -> None:
        """Close what was opened."""
        while self._stores:
            _, store = self._stores.popitem()
            await store.aclose()

    async def _look(self, *, surely: bool) -> _Known | None:
        if self._until > monotonic() and (self._known is not None or not surely):
            return self._known
        self._is_sure = False
        stores = await self._standing.current()
        self._is_sure = True
        self._known = None if stores.move is None else _Known(stores.move, stores.sentinel)
        self._until = monotonic() + REMEMBER_SECONDS
        return self._known

    async def _opened(self, known: _Known, location: str) -> OtherStore:
        async with self._opening:
            if location in self._stores:
                return self._stores[location]
            store = await self._open_store(location)
            try:
                await _require_sentinel(store, known, location)
            except BaseException:
                await store.aclose()
                raise
            self._stores[location] = store
            return store


async def _require_sentinel(store: OtherStore, known: _Known, location: str) -> None:
    if await store.read_note(NOTE) not in {known.sentinel.encode(), known.move.seal.encode()}:
        raise StorageUnavailable(f"{location} does not show its sentinel: the other store of the move is not there.")


class MovingStorage:
    """Answers as `own` does, and for what is not there as the others do. All that is put is put into `own`."""

    def __init__(self, own: Storage, elsewhere: Elsewhere) -> None:
        self._own, self._elsewhere = own, elsewhere

    @property
    def backend(self) -> str:
        """The name of the own store."""
        return self._own.backend

    async def stage(self) -> StagedObject:
        """Open a place for bytes, unless they would be put where nobody will find them."""
        await self._elsewhere.require_own()
        return await self._own.stage()

    async def open(self, key: str, offset: int = 0, length: int | None = None) -> ByteStream:
        """Open a range. What no store has may have come into the own one since that was asked."""
        try:
            return await self._own.open(key, offset, length)
        except ObjectMissing:
            others = await self._elsewhere.all()
            if not others:
                raise
        for other in others:
            with suppress(ObjectMissing):
                return await other.open(key, offset, length)
        return await self._own.open(key, offset, length)

    async def delete(self, key: str) -> None:
        """Remove the object here, and elsewhere as far as that answers: what stays there is garbage, not a loss."""
        await self._own.delete(key)
        with suppress(RefkeepError, TimeoutError):
            async with asyncio.timeout(_REMOVE_SECONDS):
                for other in await self._elsewhere.all(surely=False):
                    await other.delete(key)

    async def list(self, after: str = "") -> AsyncIterator[StoredObject]:
        """Yield the objects of all stores, each key once."""
        listing = self._own.list(after)
        for other in await self._elsewhere.all():
            listing = _merged(listing, other.list(after))
        async for stored in listing:
            yield stored

    async def check(self) -> None:
        """Ask the own store, and the old one where this one cannot do without it. The database has its own check."""
        await self._own.check()
        others: Sequence[Storage] = ()
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_CHECK_SECONDS):
                others = await self._elsewhere.needed()
        for other in others:
            await other.check()


async def _merged(
    first: AsyncIterator[StoredObject], second: AsyncIterator[StoredObject]
) -> AsyncIterator[StoredObject]:
    one, other = await anext(first, None), await anext(second, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.key <= other.key):
            if other is not None and one is not None and one.key == other.key:
                other = await anext(second, None)
            if one is not None:
                yield one
            one = await anext(first, None)
        else:
            yield other
            other = await anext(second, None)
