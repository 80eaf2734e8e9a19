"""The store moves while everything runs: copy, close the old one for writers, copy the rest, done."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import uuid4

from service.application.copy_objects import CopyObjects, Pass
from service.application.guard_store import NOTE, TOKEN, GuardStore, require_abreast
from service.application.throttle import Throttle
from service.application.walk_store import Tell
from service.domain.errors import MoveRefused
from service.observability import observed
from service.ports.integrity import Integrity
from service.ports.moves import Move, MoveLedger
from service.ports.notes import StoreNotes
from service.ports.sentinel import SentinelLedger
from service.ports.storage import Storage


@dataclass(frozen=True, slots=True)
class Side:
    """A store with its notes, and where it is."""

    storage: Storage
    notes: StoreNotes
    location: str


@dataclass(frozen=True, slots=True)
class Wish:
    """`finish`: nothing more is put into the old store, and the move ends with this pass. `dry_run`: look and count.

    `leave_damaged`: it may end without objects that the old store cannot give whole.
    """

    finish: bool = False
    dry_run: bool = False
    leave_damaged: bool = False


@dataclass(slots=True)
class Moved:
    """What a run came to. `workers` still have the old store: nothing was closed then, nor copied."""

    seen: Pass = field(default_factory=Pass)
    workers: int = 0
    finished: bool = False


def _told(moved: Moved) -> dict[str, int]:
    seen = moved.seen
    return {"rows": seen.objects, "copied": seen.copied.count, "bytes": seen.copied.bytes, "there": seen.there}


@dataclass(frozen=True, slots=True)
class MoveStore:
    """One run. Whenever it ends, the next one goes on; nothing is ever removed from the old store."""

    ledger: MoveLedger
    sentinel: SentinelLedger
    integrity: Integrity
    source: Side
    target: Side
    jobs: int = 4

    @observed("store.move", layer="usecase", facts=_told)
    async def __call__(self, wish: Wish, throttle: Throttle, tell: Tell) -> Moved:
        """Raises `MoveRefused`, `BehindFence`; `StorageUnavailable`, `StorageFull`, `Unavailable`: run it again."""
        moved = Moved()
        copying = CopyObjects(self.ledger, self.integrity, self.source.storage, self.target.storage, self.jobs)
        if wish.dry_run:
            await self._look()
            await self._require_abreast()
            await copying.count(moved.seen, tell)
            return moved
        move = await self._begin()
        await self._require_abreast()
        if wish.finish:
            moved.workers = await self.ledger.workers_at(move.source)
            if moved.workers:
                return moved
            await self._close(move)
        await copying(moved.seen, move.doubtful, throttle, tell)
        moved.finished = wish.finish and (wish.leave_damaged or not moved.seen.unsettled)
        if moved.finished:
            await self._guard(self.target).advance()
            await self.ledger.finish()
        return moved

    async def _begin(self) -> Move:
        """The move is on record before the target shows the sentinel; on the way back, that ends a closed one first."""
        if await self._look() is None:
            await self._guard(self.source).require_own()
            await self._require_apart()
        move = await self.ledger.begin(self.source.location, self.target.location)
        sentinel = (await self.ledger.stores()).sentinel.encode()
        if await self.target.notes.read_note(NOTE) != sentinel:
            await self.target.notes.write_note(NOTE, sentinel)
        return move

    async def _close(self, move: Move) -> None:
        """Whoever has the old store sees that it is not the database's any more, before it is asked to look again."""
        await self.source.notes.write_note(NOTE, move.seal.encode())
        await self.ledger.close()

    async def _look(self) -> Move | None:
        """The move under way; raises `MoveRefused` for stores between which none can be."""
        stores, expected = await self.ledger.stores(), await self.sentinel.expected()
        own = {stores.sentinel.encode()} | (set() if stores.move is None else {stores.move.seal.encode()})
        shown, taken = [await side.notes.read_note(NOTE) for side in (self.source, self.target)]
        if shown not in own and (shown is not None or expected.placed):
            raise MoveRefused(f"{self.source.location} is not the store of this database: it shows no sentinel of it.")
        if taken is not None and taken not in own:
            raise MoveRefused(f"{self.target.location} is another database's store, or what an earlier move has left.")
        if taken is None and await anext(self.target.storage.list(), None) is not None:
            raise MoveRefused(f"{self.target.location} has objects, and shows no sentinel: a new store must be empty.")
        return stores.move

    async def _require_abreast(self) -> None:
        """Raise `BehindFence` for a database that was restored: it does not know of all that must be copied."""
        generations = [await self._guard(side).generation() for side in (self.source, self.target)]
        expected = await self.sentinel.expected()
        for generation in generations:
            require_abreast(expected, generation)

    async def _require_apart(self) -> None:
        """Raise `MoveRefused` where both are one store under two names."""
        token = str(uuid4()).encode()
        await self.target.notes.write_note(TOKEN, token)
        if await self.source.notes.read_note(TOKEN) == token:
            raise MoveRefused(f"{self.source.location} and {self.target.location} are one store.")

    def _guard(self, side: Side) -> GuardStore:
        return GuardStore(self.sentinel, side.notes)
