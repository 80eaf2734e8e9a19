"""A move from one store to another, as the database knows it: where bytes may lie, and who may still put some where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Move:
    """A move under way: from `source` to `target`, both as text of a location.

    `closed`: nothing that was put into the source is published any more; its sentinel is `seal` then. `doubtful` are
    the first and the last key of the copies that were under way when they were last told of: whole in the target, if
    they are there, but nobody has read them back.
    """

    source: str
    target: str
    seal: str
    closed: bool = False
    doubtful: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Stores:
    """`epoch` is raised by every step of a move, 0 where there never was one; `sentinel` is what a store must show.

    `placed`: some store has shown it.
    """

    epoch: int
    sentinel: str
    move: Move | None = None
    placed: bool = False

    def shows_seal(self, note: bytes | None) -> bool:
        """Whether a store with this note is the source of the move under way, about to be closed."""
        return self.move is not None and note == self.move.seal.encode()


class MoveLedger(Protocol):
    """Raises `Unavailable`."""

    async def stores(self) -> Stores:
        """What is known now."""

    async def begin(self, source: str, target: str) -> Move:
        """Begin this move, or go on with it. The way back of the one under way takes its place, open again.

        Raises `MoveRefused` while another one is under way.
        """

    async def note_copies(self, keys: tuple[str, str] | None) -> None:
        """Copies of keys from the first to the last of these are about to be made; those told of before are done."""

    async def close(self) -> None:
        """From now on nothing is published that was put into the source.

        On return what was published before is visible. Who has put something and not published it must look again at
        whose its store is, each time that this is called.
        """

    async def finish(self) -> None:
        """The target has everything: nobody looks into the source any more. Only after `close`."""

    async def workers_at(self, location: str) -> int:
        """How many workers that serve have this store as their own, as far as the database sees them."""


class Standing(Protocol):
    """Whether a process may put bytes into its own store."""

    @property
    def epoch(self) -> int:
        """The epoch in which it was last seen that the store is the database's."""

    async def renew(self) -> None:
        """Look again. Raises `StorageUnavailable` where the store is not, or no longer, this database's."""
