"""The whole log beside the tables that it made, and checkpoints of what was dropped of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from service.domain.blob import Sha256
from service.domain.event import EntityState, Event, HoldEvent, HoldingEvent, RefEvent
from service.domain.hold import Hold
from service.domain.ref import Holding, Ref
from service.domain.replay import HoldingKey, Told, Tombstone
from service.domain.slot import EntityKey

Subject = TypeVar("Subject")
State = TypeVar("State")
Happening = TypeVar("Happening")
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Entry(Generic[Subject, State, Happening, Row]):
    """One thing that is known of a subject: where its log begins, an event of it, or what a table says."""

    subject: Subject
    start: State | None = None
    event: Happening | None = None
    row: Row | None = None


EntityEntry = Entry[EntityKey, EntityState, RefEvent, int | Ref]
HoldingEntry = Entry[HoldingKey, Holding, HoldingEvent, Holding]
HoldEntry = Entry[Sha256, Hold, HoldEvent, Hold]
TombstoneEntry = Entry[UUID, Tombstone, Tombstone, Tombstone]


@dataclass(frozen=True, slots=True)
class Scope:
    """What to read: of a workspace, of an entity, as it was at a cursor or a time; None does not narrow.

    Without `rows` only what the log says.
    """

    workspace: str | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    until: str | datetime | None = None
    rows: bool = True


EVERYTHING = Scope()


class Books(Protocol):
    """Everything as it was at one moment. All entries of a subject come together: start, events in order, rows."""

    @property
    def now(self) -> datetime:
        """The moment, on the database's clock."""

    def entities(self, scope: Scope = EVERYTHING) -> AsyncIterator[EntityEntry]:
        """Entities; their rows are the version and every ref."""

    def holdings(self, scope: Scope = EVERYTHING) -> AsyncIterator[HoldingEntry]:
        """What workspaces hold."""

    def holds(self) -> AsyncIterator[HoldEntry]:
        """What operators hold."""

    def tombstones(self) -> AsyncIterator[TombstoneEntry]:
        """What was purged."""


class Archive(Protocol):
    """The log and the tables."""

    def opened(self) -> AbstractAsyncContextManager[Books]:
        """One snapshot of all, on a system that goes on living; it holds up nothing but the removal of old rows."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The log as it stands: places are cursors, None where there is nothing.

    `first` and `last` are kept, everything up to `dropped_until` is not.
    """

    first: str | None
    first_time: datetime | None
    last: str | None
    last_time: datetime | None
    edge: str
    dropped: int
    dropped_until: str | None
    dropped_at: datetime | None


@dataclass(frozen=True, slots=True)
class Dropped:
    """`events` are gone, up to `until`; `more` of them may follow."""

    events: int
    until: str | None
    more: bool


Retelling = Callable[[Told, Sequence[Event]], Told]
"""Pure: what a checkpoint says after these events."""


class Checkpoints(Protocol):
    """The end of events that nobody needs any more, but for what they made."""

    async def extent(self) -> Extent:
        """The log's two ends."""

    async def count(self, before: str | datetime) -> int:
        """How many events `drop` would drop."""

    async def drop(self, before: str | datetime, limit: int, retelling: Retelling) -> Dropped:
        """Take the oldest events into the checkpoint and drop them, in one transaction; at most `limit`.

        Of those at or before a cursor, or in front of the first that is not older than a time. Only settled events go.
        Raises `BadCursor`, `BrokenStory`.
        """
