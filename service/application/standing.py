"""Whether this process may go on putting bytes into its store: asked again after each step of a move."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.application.guard_store import NOTE
from service.domain.errors import StorageUnavailable
from service.ports.moves import MoveLedger, Stores
from service.ports.notes import StoreNotes


@dataclass(slots=True)
class StoreStanding:
    """`Standing` of the process whose store has these notes.

    The epoch is read before the note: a store that is closed loses its sentinel first, then the epoch is raised.
    """

    ledger: MoveLedger
    notes: StoreNotes
    epoch: int = field(default=0, init=False)

    async def renew(self) -> None:
        """See the port."""
        await self.current()

    async def current(self) -> Stores:
        """What is known of stores now; raises `StorageUnavailable` where this one is no longer one of them.

        Nor is a folder that stands where another one was mounted, or a bucket that was made anew: once a sentinel was
        placed, whoever does not show it is not believed that something is missing.
        """
        stores = await self.ledger.stores()
        is_behind = stores.epoch not in {0, self.epoch}
        if is_behind or stores.placed:
            shown = await self.notes.read_note(NOTE)
            if shown != stores.sentinel.encode() and not (stores.shows_seal(shown) and not is_behind):
                raise StorageUnavailable(_MOVED if is_behind else _ANOTHER)
        self.epoch = stores.epoch
        return stores


_MOVED = (
    "This replica's store is not, or no longer, the one of its database: start it with the settings of the "
    "store to which `refkeep migrate-store` has moved."
)
_ANOTHER = (
    "The mounted folder or bucket is not the one of this database: it does not show its sentinel. Mount the right one."
)
