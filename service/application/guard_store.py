"""This must be the store of this database, and the database as far as the store.

A folder that is not mounted looks empty, and so does a wrong bucket. A database that was restored does not know what
came after its dump: it would take it for garbage.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from service.domain.errors import BehindFence, WrongStore
from service.ports.notes import StoreNotes
from service.ports.sentinel import Sentinel, SentinelLedger

NOTE, FENCE, TOKEN = "sentinel", "fence", "move"
NOTES = frozenset({NOTE, FENCE, TOKEN})
_NO_REST = timedelta()
_TRIES = 3
_DIGITS = 18


@dataclass(frozen=True, slots=True)
class GuardStore:
    """Compare sentinel and fence in the store with the database; the first start writes them."""

    ledger: SentinelLedger
    notes: StoreNotes

    async def __call__(self) -> Sentinel:
        """What the database says of its store.

        Raises `WrongStore` and `BehindFence`; `StorageUnavailable` and `Unavailable` when nobody can tell. The fence is
        raised here every minute, so that a database restored to an earlier time is behind it even where nothing was
        removed since.
        """
        expected = await self._abreast(self.require_own)
        if expected.lags:
            await self.advance()
        return expected

    async def look(self) -> Sentinel:
        """The same for who changes nothing: neither sentinel nor fence are written."""
        return await self._abreast(self.look_for_own)

    async def require_own(self) -> Sentinel:
        """The sentinel alone, whatever the fence says.

        The database knows the id before the store does, so that a crash in between, or two first starts at once, write
        the same sentinel again.
        """
        expected, found = await self._compared()
        if found is None:
            await self.notes.write_note(NOTE, expected.id.encode())
        if not expected.placed:
            await self.ledger.note_placed()
        return expected

    async def look_for_own(self) -> Sentinel:
        """The sentinel alone, which is not written where it has never been."""
        return (await self._compared())[0]

    async def advance(self) -> None:
        """Raise the fence: what is committed by now is known to every database that is not behind it.

        To be done before bytes are removed.
        """
        await self._write(await self.ledger.advance())

    async def lift(self, rest: timedelta = _NO_REST) -> None:
        """Set the fence to this database, which was compared with the store; see `SentinelLedger.settle`."""
        await self._write(await self.ledger.settle(await self.generation() or 0, rest))

    async def generation(self) -> int | None:
        """What the fence in the store shows, 0 where there is none, None where nobody can read it."""
        found = await self.notes.read_note(FENCE) or b"0"
        return int(found) if found.isdigit() and len(found) <= _DIGITS else None

    async def _abreast(self, own: Callable[[], Awaitable[Sentinel]]) -> Sentinel:
        shown = await self.generation()  # before the database is asked, which others may raise at any moment
        expected = await own()
        require_abreast(expected, shown)
        return expected

    async def _compared(self) -> tuple[Sentinel, bytes | None]:
        """What the database says, and what the store shows: nothing only where nothing was ever placed."""
        expected, found = await self.ledger.expected(), await self.notes.read_note(NOTE)
        is_first = found is None and not expected.placed
        if not is_first and found != expected.id.encode():
            raise WrongStore(absent=found is None)
        return expected, found

    async def _write(self, generation: int) -> None:
        """A slower writer may put an older number over a newer one: who is last sees to it that the newest stands."""
        for _ in range(_TRIES):
            await self.notes.write_note(FENCE, str(generation).encode())
            latest = (await self.ledger.expected()).generation
            if latest <= generation:
                return
            generation = latest


def require_abreast(expected: Sentinel, generation: int | None) -> None:
    """Raise `BehindFence` unless the database has seen all that the store has been through."""
    if generation is None:
        raise BehindFence("The fence beside the blobs cannot be read.")
    if expected.moved:
        raise BehindFence("The database was restored from a dump.")
    if generation > expected.generation:
        raise BehindFence(
            f"The database was restored to an earlier time: it has come to generation {expected.generation}, "
            f"its store to {generation}."
        )
