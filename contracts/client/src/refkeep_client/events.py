"""The feed: every decision in order, followed from a cursor; and the snapshot that one begins from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Unpack

from refkeep_client.options import CallOptions, EventOptions
from refkeep_client.results import Event, EventPage, SnapshotRef
from refkeep_client.sending import Sender


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All live refs, and the cursor to follow the feed from once they are taken in.

    Iterate it once. Raises `Unreachable` where it breaks off: begin again.
    """

    cursor: str
    refs: AsyncIterator[SnapshotRef]

    def __aiter__(self) -> AsyncIterator[SnapshotRef]:
        return self.refs


class Events:
    """`refkeep.events`."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def page(self, after: str | None = None, *, wait: int = 0, **options: Unpack[EventOptions]) -> EventPage:
        """The events behind a cursor, from the first when it is None; an empty page waits up to 25 seconds.

        Raises `CursorExpired`.
        """
        raise NotImplementedError

    def pages(
        self, after: str | None = None, *, wait: int = 25, **options: Unpack[EventOptions]
    ) -> AsyncIterator[EventPage]:
        """Pages for ever, each with something new: events, or a `next` that has moved on.

        Store `page.next` in the transaction that applies the page. Goes on through restarts of the service and any
        outage, as long as it takes. Raises `CursorExpired`, `Unauthorized`, `Forbidden`, `BadRequest`.
        """
        raise NotImplementedError

    def follow(
        self, after: str | None = None, *, wait: int = 25, **options: Unpack[EventOptions]
    ) -> AsyncIterator[Event]:
        """Events for ever, one by one; `event.id` is the cursor to store. Else as `pages`."""
        raise NotImplementedError

    def stream(self, after: str | None = None, **options: Unpack[EventOptions]) -> AsyncIterator[Event]:
        """The same over one connection of server-sent events, which comes again with `Last-Event-ID` when it ends."""
        raise NotImplementedError

    def snapshot(self, **options: Unpack[CallOptions]) -> AbstractAsyncContextManager[Snapshot]:
        """All live refs: `async with refkeep.events.snapshot() as snapshot: async for ref in snapshot: …`."""
        raise NotImplementedError
