"""A store whose requests meet what networks do to them: lost on the way, lost on the way back, late, twice."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from service.domain.errors import StorageFull, StorageUnavailable
from service.ports.storage import ByteStream, StagedObject, StoredObject


class Fate(StrEnum):
    """What becomes of one PUT or DELETE."""

    FINE = "fine"
    REFUSED = "refused"
    """Nothing happens, and the caller is told so."""
    ANSWER_LOST = "answer lost"
    """It happens, and the caller hears nothing."""
    LATE = "late"
    """The caller hears nothing; it happens at any time after that."""
    TWICE = "twice"
    """It happens, the caller is told, and at any time after that it happens once more."""
    FULL = "full"
    """No room is left. Nothing happens."""


@dataclass(frozen=True, slots=True)
class Straggler:
    """A request still on its way: a PUT of `content`, or a DELETE where that is None."""

    key: str
    content: bytes | None


@dataclass
class FaultyStore:
    """Answers as `store` does, but for the next requests whose `fates` are drawn.

    `stragglers` wait for `land`. `strays` are the keys that were put when their caller had long been told otherwise,
    so that nobody may know of them; `touched` collects the keys that anything happened to.
    """

    store: Any
    fates: deque[Fate] = field(default_factory=deque)
    note_refused: bool = False
    stragglers: list[Straggler] = field(default_factory=list)
    strays: set[str] = field(default_factory=set)
    touched: set[str] = field(default_factory=set)

    @property
    def backend(self) -> str:
        """The name of the store beneath."""
        return str(self.store.backend)

    async def stage(self) -> StagedObject:
        """Open a place for bytes."""
        return _FaultyStaged(self, await self.store.stage())

    async def open(self, key: str, offset: int = 0, length: int | None = None) -> ByteStream:
        """Open a range."""
        stream: ByteStream = await self.store.open(key, offset, length)
        return stream

    def list(self, after: str = "") -> AsyncIterator[StoredObject]:
        """The keys that are there."""
        listing: AsyncIterator[StoredObject] = self.store.list(after)
        return listing

    async def check(self) -> None:
        """Ask the store."""
        await self.store.check()

    async def delete(self, key: str) -> None:
        """Remove the object, as its fate will have it."""
        fate = self.next_fate()
        if fate in {Fate.FINE, Fate.ANSWER_LOST, Fate.TWICE}:
            await self.store.delete(key)
            self.touched.add(key)
        self.settle(fate, Straggler(key, None))

    async def read_note(self, name: str) -> bytes | None:
        """Read the note, or fail to."""
        if self.note_refused:
            raise StorageUnavailable("The store does not answer.")
        note: bytes | None = await self.store.read_note(name)
        return note

    async def write_note(self, name: str, content: bytes) -> None:
        """Write the note."""
        await self.store.write_note(name, content)

    async def sweep_abandoned(self) -> int:
        """What crashed processes left."""
        return int(await self.store.sweep_abandoned())

    async def end_unfinished(self, before: datetime, *, dry_run: bool = False) -> int:
        """What was begun in parts and never ended."""
        return int(await self.store.end_unfinished(before, dry_run=dry_run))

    async def land(self, straggler: Straggler) -> None:
        """A late request arrives."""
        self.stragglers.remove(straggler)
        self.touched.add(straggler.key)
        if straggler.content is None:
            await self.store.delete(straggler.key)
        else:
            self.strays.add(straggler.key)
            staged = await self.store.stage()
            await staged.write(straggler.content)
            await staged.commit(straggler.key)

    def next_fate(self) -> Fate:
        """What becomes of the next request."""
        return self.fates.popleft() if self.fates else Fate.FINE

    def settle(self, fate: Fate, request: Straggler) -> None:
        """Let the rest of a fate happen: what is still on its way, and what the caller hears."""
        if fate in {Fate.LATE, Fate.TWICE}:
            self.stragglers.append(request)
        if fate is Fate.FULL and request.content is not None:
            raise StorageFull("No room is left.")
        if fate not in {Fate.FINE, Fate.TWICE}:
            raise StorageUnavailable("The store does not answer.")


@dataclass
class _FaultyStaged:
    faulty: FaultyStore
    staged: StagedObject
    content: bytes = b""

    @property
    def path(self) -> Path:
        return self.staged.path

    async def write(self, chunk: bytes) -> None:
        self.content += chunk
        await self.staged.write(chunk)

    async def flush(self) -> None:
        await self.staged.flush()

    async def commit(self, key: str) -> None:
        fate = self.faulty.next_fate()
        if fate in {Fate.FINE, Fate.ANSWER_LOST, Fate.TWICE}:
            await self.staged.commit(key)
            self.faulty.touched.add(key)
        else:
            await self.staged.cancel()
        self.faulty.settle(fate, Straggler(key, self.content))

    async def cancel(self) -> None:
        await self.staged.cancel()
