"""The event log: a page, a page that waits, a stream; and what it goes on from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Any

import msgspec
from litestar import Response, get

from service.domain.blob import parse_sha256
from service.domain.errors import RefkeepError
from service.domain.event import DecisionKind
from service.domain.ref import parse_ref_id
from service.domain.slot import parse_entity_id, parse_name
from service.ports.access import Scope
from service.ports.feed import EventFilter, FeedPage
from service.router.accepting import prefers
from service.router.answers import JSON, answer, respond
from service.router.callers import Caller
from service.router.intake import HttpRequest, members_as, query_members
from service.router.streaming import Streamed, is_head, name_stream, note_failure, unless_gone
from service.router.use_cases import UseCases
from service.schemas.event_stream import OPENING, stream_of
from service.schemas.feed import event_page
from service.schemas.requests import MAX_PAGE
from service.schemas.snapshot import head_line, ref_lines

_DEFAULT_PAGE = 100
MAX_WAIT = 25
BEAT_SECONDS = 1.0
"""How often a stream asks whether its key still holds: what is remembered of keys is younger than 5 s, together."""
HEARTBEAT_SECONDS = 10.0
EVENT_STREAM = "text/event-stream"
NDJSON = "application/x-ndjson"


class EventQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query of the feed."""

    after: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = _DEFAULT_PAGE
    wait: Annotated[int, msgspec.Meta(ge=0, le=MAX_WAIT)] = 0
    entity_type: str | None = None
    entity_id: str | None = None
    ref_id: str | None = None
    sha256: str | None = None
    decision: DecisionKind | None = None

    def wanted(self) -> EventFilter:
        """What to narrow the feed to. Raises `BadHash`, `BadName`."""
        if self.entity_type is not None:
            parse_name(self.entity_type, "entity_type")
        if self.entity_id is not None:
            parse_entity_id(self.entity_id)
        sha256 = None if self.sha256 is None else parse_sha256(self.sha256)
        ref_id = None if self.ref_id is None else parse_ref_id(self.ref_id)
        return EventFilter(self.entity_type, self.entity_id, ref_id, sha256, self.decision)


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing can be asked."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Who reads a body that takes its time, and whether they still may."""

    request: HttpRequest
    use: UseCases
    caller: Caller

    async def check(self) -> None:
        """Raises what `require` raises."""
        await self.use.callers.require(self.request.headers, Scope.READ)


@get("/events", operation="event.list")
async def get_events(request: HttpRequest, use: UseCases) -> Response[Any]:
    """A page of the event log, or all that comes."""
    caller = await use.callers.require(request.headers, Scope.READ)
    query = members_as(EventQuery, query_members(request))
    reader = _Reader(request, use, caller)
    if prefers(request.headers.get("accept"), EVENT_STREAM, JSON):
        return await _stream(reader, query)
    return respond(answer(200, event_page(await _page(reader, query))))


@get("/snapshot", operation="event.snapshot")
async def get_snapshot(request: HttpRequest, use: UseCases) -> Response[Any]:
    """What the workspace shows, and the cursor to follow it from."""
    caller = await use.callers.require(request.headers, Scope.READ)
    members_as(Nothing, query_members(request))
    name_stream("event.snapshot")
    cursor = await use.take_snapshot.cursor()
    lines = _nothing() if is_head(request) else _snapshot(_Reader(request, use, caller), cursor)
    return Streamed(lines, NDJSON)


async def _page(reader: _Reader, query: EventQuery) -> FeedPage:
    use, asked = reader.use, (reader.caller.workspace, query.after, query.limit, query.wanted())
    if not query.wait or is_head(reader.request):
        return await use.list_events(*asked)
    page = await unless_gone(reader.request, use.await_events(*asked, query.wait))
    await reader.check()  # of a key that was revoked while it waited
    return page


async def _stream(reader: _Reader, query: EventQuery) -> Response[Any]:
    name_stream("event.stream")
    after = reader.request.headers.get("last-event-id") or query.after
    asked = (reader.caller.workspace, after, query.limit, query.wanted())
    pages = reader.use.follow_events(*asked, BEAT_SECONDS)
    first = await anext(pages)  # what cannot be read is a problem, while there can be one
    if is_head(reader.request):
        await pages.aclose()
        return Streamed(_nothing(), EVENT_STREAM)
    return Streamed(_sent_events(reader, first, pages), EVENT_STREAM)


async def _sent_events(reader: _Reader, first: FeedPage, pages: AsyncIterator[FeedPage]) -> AsyncIterator[bytes]:
    """Ends in order when the process leaves, the key is revoked or the database is gone: the reader comes again."""
    yield OPENING + stream_of(first)
    silent_since, told = monotonic(), first.next_cursor
    try:
        async for page in pages:
            await reader.check()
            is_news = page.events or page.next_cursor != told
            if is_news or monotonic() - silent_since >= HEARTBEAT_SECONDS:
                yield stream_of(page)
                silent_since, told = monotonic(), page.next_cursor
    except RefkeepError as error:
        note_failure(error)


async def _snapshot(reader: _Reader, cursor: str) -> AsyncIterator[bytes]:
    yield head_line(cursor)
    async for entities in reader.use.take_snapshot.entities(reader.caller.workspace):
        await reader.check()
        yield ref_lines(reader.use.present, entities)


async def _nothing() -> AsyncIterator[bytes]:
    for piece in tuple[bytes, ...]():
        yield piece


HANDLERS = [get_events, get_snapshot]
