"""Is this the store of this database? A folder that is not mounted looks empty, and so does a wrong bucket."""

from __future__ import annotations

from dataclasses import dataclass

from service.domain.errors import WrongStore
from service.ports.notes import StoreNotes
from service.ports.sentinel import SentinelLedger

NOTE = "sentinel"


@dataclass(frozen=True, slots=True)
class GuardStore:
    """Compare the sentinel in the store with the id in the database; the first start writes it."""

    ledger: SentinelLedger
    notes: StoreNotes

    async def __call__(self) -> None:
        """Raises `WrongStore`; `StorageUnavailable` and `Unavailable` when nobody can tell.

        The database knows the id before the store does, so that a crash in between, or two first starts at once, write
        the same sentinel again.
        """
        expected, found = await self.ledger.expected(), await self.notes.read_note(NOTE)
        if found is None and not expected.placed:
            await self.notes.write_note(NOTE, expected.id.encode())
        elif found != expected.id.encode():
            raise WrongStore(absent=found is None)
        if not expected.placed:
            await self.ledger.note_placed()
