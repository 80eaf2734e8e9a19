"""The feed's pages: CloudEvents 1.0 in their JSON form."""

from __future__ import annotations

import msgspec

from service.ports.feed import FeedPage, LoggedEvent
from service.schemas.events import rfc3339
from service.schemas.texts import TimeText

SOURCE = "refkeep"


class CloudEvent(msgspec.Struct, frozen=True):
    """One event; `id` is its opaque cursor, `subject` the entity or the blob it is about, `data` see `EventData`."""

    id: str
    type: str
    time: TimeText
    subject: str
    data: msgspec.Raw
    specversion: str = "1.0"
    source: str = SOURCE
    datacontenttype: str = "application/json"


class EventPage(msgspec.Struct, frozen=True):
    """Events in order; `next` is never null, also where nothing matched."""

    events: list[CloudEvent]
    next: str
    caught_up: bool


def event_page(page: FeedPage) -> EventPage:
    """A page as callers see it."""
    return EventPage([cloud_event(event) for event in page.events], page.next_cursor, page.caught_up)


def cloud_event(event: LoggedEvent) -> CloudEvent:
    """An event as callers see it."""
    return CloudEvent(event.cursor, event.type, rfc3339(event.time), event.subject, msgspec.Raw(event.data))
