"""Answers that go out alike to everybody: small public blobs, asked for by hash and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Final

from service.delivery.asgi import Headers, Message, Scope, Send
from service.delivery.routes import BLOB_TEMPLATE
from service.observability import DOWNLOAD, RoutineRequest, observe_request
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
class Routine:
    """An answer known beforehand: how it starts, of which object it has the bytes, and how it goes on record."""

    start: Message
    content: ServableBytes
    record: RoutineRequest

    async def send(self, scope: Scope, send: Send, body: bytes) -> None:
        """Send the answer. No time-out watches: a small body is taken whole, and the kernel cuts who does not read."""
        started = perf_counter()
        try:
            await send(self.start)
            await send({"type": "http.response.body", "body": body})
        except Exception as error:  # noqa: BLE001 - as in `Sender`: too late for another answer
            _record_broken(scope, self.content, error)
        else:
            self.record.record(scope, perf_counter() - started)


def routine_of(content: ServableBytes, headers: Headers) -> Routine:
    """Put together the 200 to ordinary requests for `content`."""
    record = RoutineRequest(
        DOWNLOAD,
        BLOB_TEMPLATE,
        200,
        storage_duration_ms=0.0,
        sha256=content.sha256,
        cache_hit=True,
        response_bytes=content.size,
    )
    return Routine({"type": "http.response.start", "status": 200, "headers": headers}, content, record)


def _record_broken(scope: Scope, content: ServableBytes, error: Exception) -> None:
    with observe_request(scope, operation=DOWNLOAD, route=BLOB_TEMPLATE, quiet=True) as observation:
        observation.note_failure(error)
        observation.complete(200, sha256=content.sha256, cache_hit=True)
