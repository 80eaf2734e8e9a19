"""The event log, read by a cursor that neither skips nor repeats."""

from __future__ import annotations

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


class Feed(Protocol):
    """A workspace's events in the order of their commits as far as that is settled."""

    async def page(self, workspace: str, after: str | None, limit: int, wanted: EventFilter) -> FeedPage:
        """Events after the cursor (None: from the first), oldest first. Raises `BadCursor`."""
