"""Answers that go out alike to everybody: whole public blobs and renditions, asked for by name and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Final

from service.delivery.asgi import Headers, Message, Scope, Send, sends_files
from service.delivery.bodies import SmallBodies
from service.observability import DOWNLOAD, Fact, RoutineRequest, observe_request
from service.ports.descriptors import ServableBytes

_JUDGED: Final = frozenset({
    b"authorization",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"origin",
    b"range",
})  # fmt: skip
"""The request headers on which an answer to GET depends. (Without a key, the workspace is of no account.)"""


def is_ordinary(scope: Scope) -> bool:
    """Whether the request asks for the whole of something, as anyone may, without conditions."""
    if scope["method"] != "GET" or scope["query_string"]:
        return False
    for name, _ in scope["headers"]:  # noqa: SIM110 - any() costs twice the loop on every request
        if name in _JUDGED:
            return False
    return True


@dataclass(frozen=True, slots=True)
class AtHand:
    """What can be sent without asking the store: bytes remembered, and files that `is_file` sees without waiting."""

    bodies: SmallBodies = field(default_factory=SmallBodies)
    is_file: Callable[[Path], bool] = lambda _: False


@dataclass(frozen=True, slots=True)
class Routine:
    """An answer known beforehand: how it starts, of which object it has the bytes, and how it goes on record.

    `file` is what the server sends by itself; None where the bytes are remembered here. `named` is what was asked for.
    """

    start: Message
    content: ServableBytes
    file: Path | None
    record: RoutineRequest
    template: str
    named: Mapping[str, Fact]

    def body(self, scope: Scope, at_hand: AtHand) -> Message | None:
        """The message with the bytes, None where they are not at hand, or where the server sends no files."""
        if self.file is not None:
            sent = sends_files(scope) and at_hand.is_file(self.file)
            return {"type": "http.response.pathsend", "path": str(self.file)} if sent else None
        found = at_hand.bodies.get(self.content.storage_key)
        return None if found is None else {"type": "http.response.body", "body": found}

    async def send(self, scope: Scope, send: Send, body: Message) -> None:
        """Send the answer. No time-out watches: its body is taken at once, and the kernel cuts who does not read."""
        started = perf_counter()
        try:
            await send(self.start)
            await send(body)
        except Exception as error:  # noqa: BLE001 - as in `Sender`: too late for another answer
            self._record_broken(scope, error)
        else:
            self.record.record(scope, perf_counter() - started)

    def _record_broken(self, scope: Scope, error: Exception) -> None:
        with observe_request(scope, operation=DOWNLOAD, route=self.template, quiet=True) as observation:
            observation.note_failure(error)
            observation.note(**self.named)
            observation.complete(200, cache_hit=self.file is None)


def routine_of(
    content: ServableBytes, headers: Headers, file: Path | None, template: str, named: Mapping[str, Fact]
) -> Routine:
    """Put together the 200 to ordinary requests for `content`; a `file` has just been found to be there."""
    record = RoutineRequest(
        DOWNLOAD,
        template,
        200,
        storage_duration_ms=0.0,
        **named,
        cache_hit=file is None,
        response_bytes=content.size,
    )
    return Routine(
        {"type": "http.response.start", "status": 200, "headers": headers}, content, file, record, template, named
    )
