"""The feed: every decision in order, followed from a cursor; and the snapshot that one begins from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from time import monotonic
from typing import Unpack

import httpx
import msgspec

from refkeep_client.answers import decoded
from refkeep_client.calls import Call, present, read
from refkeep_client.lines import lines_of
from refkeep_client.options import CallOptions, EventOptions
from refkeep_client.problems import Problem, Unexpected, Unreachable
from refkeep_client.results import Event, EventPage, SnapshotRef
from refkeep_client.sending import Sender, transport_errors
from refkeep_client.sse import messages_of
from refkeep_client.texts import ref_id_text

MAX_WAIT = 25
HEARTBEAT_S = 10.0
"""Streams are silent for no longer than this."""
_LEAST_EMPTY_S = 1.0
"""Empty pages are asked for no more often than this, should a server not wait though it was asked to."""

_STREAM = "text/event-stream"
_SHOWN = 100
_HTTP_1 = {b"HTTP/1.0", b"HTTP/1.1"}
_FILTERS = ("limit", "entity_type", "entity_id", "sha256", "decision")


class _Head(msgspec.Struct, frozen=True):
    cursor: str


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
        return await self._sender.ask(self._listing(after, wait, options), EventPage)

    async def pages(
        self, after: str | None = None, *, wait: int = MAX_WAIT, **options: Unpack[EventOptions]
    ) -> AsyncGenerator[EventPage, None]:
        """Pages for ever, each with something new: events, or a `next` that has moved on.

        Store `page.next` in the transaction that applies the page. Goes on through restarts of the service and any
        outage, as long as it takes. Raises `CursorExpired`, `Unauthorized`, `Forbidden`, `BadRequest`, `Unexpected`.
        """
        if wait < 1:
            raise ValueError("A feed that does not wait would ask without a pause: wait is 1 to 25 seconds.")
        while True:
            asked = monotonic()
            page = await self._sender.ask(self._patient(self._listing(after, wait, options), 0), EventPage)
            answered = monotonic()
            if page.events or page.next != after:
                yield page
            if not page.events and (page.caught_up or page.next == after):
                await asyncio.sleep(max(_LEAST_EMPTY_S - (answered - asked), 0.0))
            after = page.next

    async def follow(
        self, after: str | None = None, *, wait: int = MAX_WAIT, **options: Unpack[EventOptions]
    ) -> AsyncGenerator[Event, None]:
        """Events for ever, one by one; `event.id` is the cursor to store. Else as `pages`."""
        async with aclosing(self.pages(after, wait=wait, **options)) as pages:
            async for page in pages:
                for event in page.events:
                    yield event

    async def stream(self, after: str | None = None, **options: Unpack[EventOptions]) -> AsyncGenerator[Event, None]:
        """The same over one connection of server-sent events, which comes again with `Last-Event-ID` when it ends."""
        call = self._patient(self._listing(None, 0, options), HEARTBEAT_S)
        call = call.with_headers(accept=_STREAM, accept_encoding="identity")
        attempts = self._sender.attempts(call)
        while True:
            ended: Problem | Unreachable = Unreachable(f"{call}: the stream ended.")
            try:
                async with aclosing(self._connected(call, after)) as messages:
                    async for id_, event in messages:
                        attempts.succeeded()
                        after = id_
                        if event is not None:
                            yield event
            except (Problem, Unreachable) as error:
                ended = error
            await attempts.wait_after(ended)

    @asynccontextmanager
    async def snapshot(self, **options: Unpack[CallOptions]) -> AsyncIterator[Snapshot]:
        """All live refs: `async with refkeep.events.snapshot() as snapshot: async for ref in snapshot: …`."""
        call = read("GET", "/snapshot", options).with_headers(accept_encoding="identity")
        async with self._sender.opened(call, streamed=True) as response:
            _check_framed(response, call)
            lines = lines_of(response.aiter_raw(), whole=True)
            with transport_errors(call):
                head = await anext(lines, b"")
            yield Snapshot(decoded(head, _Head).cursor, _refs(lines, call))

    def _listing(self, after: str | None, wait: int, options: EventOptions) -> Call:
        wanted = present(**{name: options.get(name) for name in _FILTERS})
        ref_id = options.get("ref_id")
        if ref_id is not None:
            wanted["ref_id"] = ref_id_text(ref_id)
        call = read("GET", "/events", options, {"after": after, "wait": wait or None, **wanted})
        return replace(call, timeout=self._quiet(call, wait)) if wait else call

    def _patient(self, call: Call, quiet_s: float) -> Call:
        """The same, tried for ever, where `quiet_s` of silence are no failure."""
        retry = (call.retry or self._sender.retry).endless()
        return replace(call, retry=retry, timeout=self._quiet(call, quiet_s))

    def _quiet(self, call: Call, seconds: float) -> httpx.Timeout:
        known = self._sender.http.timeout if call.timeout is None else httpx.Timeout(call.timeout)
        wait = None if known.read is None else known.read + seconds
        return httpx.Timeout(connect=known.connect, read=wait, write=known.write, pool=known.pool)

    async def _connected(self, call: Call, after: str | None) -> AsyncGenerator[tuple[str, Event | None], None]:
        """What one connection brings: cursors, with their events or alone."""
        if after is not None:
            call = call.with_headers(last_event_id=after)
        async with aclosing(await self._sender.attempt(call, streamed=True)) as response:
            _check_stream(response, call)
            with transport_errors(call):
                async for message in messages_of(lines_of(response.aiter_raw())):
                    event = None if message.data is None else decoded(message.data, Event)
                    if message.id is not None:
                        yield message.id, event


def _check_stream(response: httpx.Response, call: Call) -> None:
    """Raise `Unexpected` where something else than a stream answers, of which no event would ever come."""
    found = response.headers.get("content-type", "nothing that says its type")
    if found.partition(";")[0].strip().lower() != _STREAM:
        raise Unexpected(f"{call} was answered with {found[:_SHOWN]!r} instead of {_STREAM}.")


def _check_framed(response: httpx.Response, call: Call) -> None:
    """Raise `Unexpected` where the answer would look whole wherever the connection breaks. HTTP/2 frames by itself."""
    plain = response.extensions.get("http_version") in _HTTP_1
    if plain and response.headers.keys().isdisjoint({"content-length", "transfer-encoding"}):
        raise Unexpected(
            f"{call} was answered with neither Content-Length nor chunks: if it broke off, nobody would notice. "
            "Look for a proxy that speaks HTTP/1.0."
        )


async def _refs(lines: AsyncIterator[bytes], call: Call) -> AsyncIterator[SnapshotRef]:
    with transport_errors(call):
        async for line in lines:
            yield decoded(line, SnapshotRef)
