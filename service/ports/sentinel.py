"""Which store belongs to this database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Sentinel:
    """`id` is what the store must show; `placed` says that it was written there once."""

    id: str
    placed: bool


class SentinelLedger(Protocol):
    """The database's half: the id is made with the schema and never changes."""

    async def expected(self) -> Sentinel:
        """What the store must show."""

    async def note_placed(self) -> None:
        """The store has it: from now on its absence means that this is another store. Idempotent."""
