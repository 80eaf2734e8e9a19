"""The feed as server-sent events (WHATWG HTML §9.2)."""

from __future__ import annotations

import msgspec

from service.ports.feed import FeedPage, LoggedEvent
from service.schemas.feed import cloud_event

RETRY_MS = 1000
OPENING = b"retry: %d\n\n" % RETRY_MS
"""How long a reader waits before it connects again."""


def stream_of(page: FeedPage) -> bytes:
    """The events of a page, each with its cursor as `id`, and behind them where the page ends.

    An `id` without `data` is no event: it only moves the reader's `Last-Event-ID` on, also where nothing matched.
    """
    events = b"".join(_event(event) for event in page.events)
    return b"%s: heartbeat\nid: %s\n\n" % (events, page.next_cursor.encode())


def _event(event: LoggedEvent) -> bytes:
    data = msgspec.json.encode(cloud_event(event))
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event.cursor.encode(), event.type.encode(), data)
