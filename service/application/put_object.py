"""Reserve, put, publish: the one way in which bytes get into the store; see the safety protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from service.application.lifetimes import Lifetimes
from service.application.staging import Staged
from service.domain.errors import RefkeepError
from service.ports.objects import ObjectLedger, Reservation
from service.ports.storage import Storage

_UNDO_SECONDS = 0.25


class Publication(Protocol):
    """What a publication says: `object_used` is False when the object is condemned and may go."""

    @property
    def object_used(self) -> bool:
        """Whether a blob shows the object now."""


P = TypeVar("P", bound=Publication)


@dataclass(frozen=True, slots=True)
class PutObject:
    """Make staged bytes durable as an object of their own, then visible."""

    storage: Storage
    objects: ObjectLedger
    lifetimes: Lifetimes
    _under_way: set[asyncio.Task[None]] = field(default_factory=set, init=False, repr=False, compare=False)
    """What is being undone without a caller; the event loop alone would forget it."""

    async def __call__(self, staged: Staged, publish: Callable[[Reservation], Awaitable[P]]) -> P:
        """What `publish` says of the object, durable on return; on any error nothing of the bytes is visible.

        Raises `StorageFull`, `StorageUnavailable`, `Unavailable`, and what `publish` raises.
        """
        reservation = await self.objects.reserve(staged.sha256, staged.size, self.lifetimes.upload)
        stored = False
        try:
            await staged.object.commit(reservation.key)
            stored = True
            published = await publish(reservation)
        except BaseException:
            await self._begin_undoing(self._abandon(reservation, stored=stored))
            raise
        if not published.object_used:
            await self._remove(reservation)
        return published

    async def _begin_undoing(self, undoing: Coroutine[Any, Any, None]) -> None:
        """Wait for it as long as a caller may be kept waiting: what has just failed may take its time to fail again."""
        task = asyncio.create_task(undoing)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        await asyncio.wait({task}, timeout=_UNDO_SECONDS)

    async def _abandon(self, reservation: Reservation, *, stored: bool) -> None:
        """Undo as far as the ledger and the store answer; a sweep past the lease removes what is left.

        A publication whose answer was lost may have made the object live: then it stays. Where the put itself failed,
        it may still land later: then the row stays for the sweep.
        """
        try:
            if await self.objects.condemn(reservation):
                await self._remove(reservation, forget=stored)
        except RefkeepError:
            return

    async def _remove(self, reservation: Reservation, *, forget: bool = True) -> None:
        try:
            await self.storage.delete(reservation.key)
            if forget:
                await self.objects.forget(reservation)
        except RefkeepError:
            return
