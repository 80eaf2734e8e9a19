"""The handler's record of one HTTP request, and the server span where no instrumentation makes it (delivery)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextvars import Token
from types import TracebackType
from typing import Any, Final, Self

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, get_current_span

from service.observability.identity import RequestIdentity, bound_request, request_id
from service.observability.outcome import Fact, Outcome, classify, outcome_of_status
from service.observability.outlets import outlets
from service.observability.propagation import extract
from service.observability.record import DOWNLOAD, Observation, record_operation
from service.observability.redaction import redact

Scope = Mapping[str, Any]
"""An ASGI connection scope of type `http`."""
Labels = dict[str, str | int]

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "QUERY"})
_CONTEXT_HEADERS: Final = frozenset({b"traceparent", b"tracestate", b"baggage"})


class RequestObservation(Observation):
    """The record of one request: enter it, `complete` it; left without either, the client has gone away."""

    __slots__ = ("_bound", "_identity", "_makes_span", "_route", "_scope", "_status")

    def __init__(
        self, scope: Scope, operation: str, route: str, span: Span, identity: RequestIdentity, *, makes_span: bool
    ) -> None:
        super().__init__(operation, "handler", span, {})
        self._scope, self._route, self._status = scope, route, 0
        self._request = self._identity = identity
        self._makes_span = makes_span

    @property
    def correlation_id(self) -> str:
        """What `X-Request-ID` answers."""
        return self._identity.correlation_id

    def __enter__(self) -> Self:
        self._bound: Token[RequestIdentity | None] = bound_request.set(self._identity)
        outlets().log.log(
            logging.DEBUG,
            "request_received",
            operation=self.operation,
            layer="handler",
            correlation_id=self.correlation_id,
        )
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            self.finish("client_aborted")
        super().__exit__(kind, error, _)
        bound_request.reset(self._bound)

    def complete(self, status: int, outcome: Outcome | None = None, **facts: Fact) -> None:
        """End the request that was answered with `status`.

        The outcome is the one given, else that of the exception noted by `note_failure`, else what the status tells.
        `response_bytes` are the bytes of the body that were handed to the server.
        """
        self._status = status
        told, error_type = classify(self._failure) if self._failure else (outcome_of_status(status), None)
        if told == "error" and 400 <= status < 500:  # an exception of the framework's own, answered as a refusal
            told, error_type = outcome_of_status(status), None
        self.note(**facts)
        self._end(outcome or told, error_type)

    def fail(self, error: BaseException) -> None:
        """End the request by an exception that nobody turned into an answer."""
        self._status = self._status or 500
        super().fail(error)

    def _add_layer_fields(self, record: dict[str, Fact], seconds: float) -> None:  # noqa: ARG002 - as its parent's
        if self.operation == DOWNLOAD:
            record["storage_duration_ms"] = self.part_ms("storage")

    def _point(self, record: Mapping[str, Fact]) -> None:
        if self._makes_span:
            record_request(record, request_labels(self._scope, self._route, self._status), self._example())

    def _end_span(self) -> None:
        if not self._makes_span:
            return
        if self.span.is_recording():
            self.span.set_attributes(request_attributes(self._scope, self._route, self._status))
        self.span.end()


def observe_request(
    scope: Scope, *, operation: str, route: str, server_span: bool = True, quiet: bool = False
) -> RequestObservation:
    """Start the record of a request; `route` is its template (`/blobs/{sha256}`).

    `server_span` makes the server span too, named and attributed as the ASGI instrumentation does, with the parent from
    `traceparent`; False where that instrumentation has made it. `quiet` sends the lines of inner layers to DEBUG.
    """
    span = begin_server_span(scope, route) if server_span else get_current_span()
    identity = RequestIdentity(request_id(scope["headers"]), quiet)
    return RequestObservation(scope, operation, route, span, identity, makes_span=server_span)


def begin_server_span(scope: Scope, route: str, started: int | None = None) -> Span:
    """Start the server span of a request, now or at `started` (nanoseconds since 1970)."""
    parent = _remote_parent(scope["headers"])
    name = span_name(scope["method"], route)
    return outlets().tracer.start_span(name, context=parent, kind=SpanKind.SERVER, start_time=started)


def record_request(record: Mapping[str, Fact], labels: Labels, example: Context | None) -> None:
    """Record the points of a request for bytes: as a request, as a use case, and its share of all bytes sent."""
    outlets().requests.record(float(record["duration_ms"]) / 1000, labels, example)
    record_operation(record, example)
    outlets().downloaded_bytes += int(record.get("response_bytes", 0))


def request_labels(scope: Scope, route: str, status: int) -> Labels:
    """Return the labels of a request's point; `status` is 0 where none was sent."""
    labels: Labels = {
        "http.request.method": _method(scope),
        "http.route": route,
        "network.protocol.version": scope["http_version"],
        "url.scheme": scope["scheme"],
    }
    if status:
        labels["http.response.status_code"] = status
    return labels | {"error.type": str(status)} if status >= 500 else labels


def _remote_parent(headers: Iterable[tuple[bytes, bytes]]) -> Context | None:
    carrier = {name.decode(): value.decode("latin-1") for name, value in headers if name in _CONTEXT_HEADERS}
    return extract(carrier) if carrier else None


def span_name(method: str, route: str) -> str:
    """Return the server span's name, `GET /blobs/{sha256}`; a method that HTTP does not know is `HTTP`."""
    return f"{method if method in METHODS else 'HTTP'} {route}"


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in METHODS else "_OTHER"


def request_attributes(scope: Scope, route: str, status: int) -> Labels:
    """Return what describes the request on its span; never the query, where signatures stand."""
    attributes: Labels = {"url.path": redact(scope["path"])}
    for prefix, peer in (("server", scope.get("server")), ("client", scope.get("client"))):
        if peer:
            attributes[f"{prefix}.address"] = peer[0]
        if peer and peer[1]:  # of a client that proxies tell of, only the address is known
            attributes[f"{prefix}.port"] = peer[1]
    agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
    if agent:
        attributes["user_agent.original"] = redact(agent.decode("latin-1"))
    return attributes | request_labels(scope, route, status)
