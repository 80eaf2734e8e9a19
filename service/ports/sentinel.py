"""Which store belongs to this database, and how far the database has come with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Sentinel:
    """`id` is what the store must show; `placed` says that it was written there once.

    `generation` is what the fence in the store may show at most; `lags` says that it was raised a while ago. `moved`
    says that the database is a copy: restored from a dump, into another cluster or into other tables. `rests` says that
    nothing may lose its last reason for now.
    """

    id: str
    placed: bool
    generation: int = 0
    lags: bool = False
    moved: bool = False
    rests: bool = False


class SentinelLedger(Protocol):
    """The database's half: the id is made with the schema and never changes, the generation only grows."""

    async def expected(self) -> Sentinel:
        """What the store must show."""

    async def note_placed(self) -> None:
        """The store has it: from now on its absence means that this is another store. Idempotent."""

    async def advance(self) -> int:
        """Raise the generation by one; returns it, committed."""

    async def settle(self, at_least: int, rest: timedelta) -> int:
        """This database is the store's from now on: at home where it is, at a generation above `at_least`.

        Until `rest` from now nothing loses its last reason. Returns the generation.
        """
