"""The event log, read by a cursor that neither skips nor repeats."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from service.domain.blob import Sha256


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event as it was stored: `cursor` is its place and its id, `data` the JSON text of its details."""

    cursor: str
    type: str
    time: datetime
    subject: str
    data: bytes


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Only events about these; None does not narrow."""

    entity_type: str | None = None
    entity_id: str | None = None
    ref_id: UUID | None = None
    sha256: Sha256 | None = None
    decision: str | None = None


@dataclass(frozen=True, slots=True)
class FeedPage:
    """`next_cursor` goes on even where nothing matched; `caught_up` says that nothing more was there to read."""

    events: tuple[LoggedEvent, ...]
    next_cursor: str
    caught_up: bool


@dataclass(frozen=True, slots=True)
class News:
    """Which workspaces have events before the cursor `until` and behind the one that was asked for; None: any may."""

    until: str
    workspaces: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Blocker:
    """The session whose open transaction holds the feed back; None where the database does not say, as of others' ones.

    `pid` is None for a prepared transaction.
    """

    pid: int | None
    application: str | None
    state: str | None
    started_at: datetime | None
    query_started_at: datetime | None


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the feed is behind: events that are committed and not told yet, up to 1,000, and the age of the oldest.

    `blocker` is who holds them back, None while nothing waits.
    """

    seconds: float
    waiting: int
    blocker: Blocker | None


class Feed(Protocol):
    """A workspace's events in the order of their commits as far as that is settled."""

    async def page(self, workspace: str | None, after: str | None, limit: int, wanted: EventFilter) -> FeedPage:
        """Events after the cursor (None: from the first), oldest first.

        Those of all workspaces and of none where `workspace` is None. Raises `BadCursor`, `CursorExpired`.
        """

    async def edge(self) -> str:
        """The cursor behind everything that is settled now."""

    async def news(self, after: str | None) -> News:
        """Who has events behind the cursor; of all workspaces at once, for the one who wakes those that wait."""

    async def lag(self) -> Lag:
        """How far behind its writers the feed is now."""


class Watch(Protocol):
    """One who waits for a workspace's events."""

    @property
    def ended(self) -> bool:
        """Whether there is nothing to wait for any more: the process takes its leave."""

    async def news(self, within: float) -> bool:
        """Whether the log may have more than at the last call, or when the watch began: True as soon as it may.

        False after `within` seconds, and at once when the watch has ended.
        """


class Tail(Protocol):
    """The end of the log, looked at by one for all who wait."""

    def watch(self, workspace: str) -> AbstractContextManager[Watch]:
        """Wait for this workspace's events within the block; begin before reading, so that nothing falls in between.

        Raises `Unavailable` when too many wait already.
        """
