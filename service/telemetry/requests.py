"""The server span and the handler's record around the framework; names come from route templates, never from paths."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from service.observability import RequestObservation, observe_request, outlets, redact
from service.observability.propagation import prepare_propagation
from service.observability.request import span_name

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Route:
    """One route: `template` as OpenAPI writes it (`/refs/{entity_type}`), `operation` as records name it."""

    method: str
    template: str
    operation: str


UNKNOWN: Final = Route("", "{unknown}", "unknown")
_PARAMETER: Final = re.compile(r"\\{[^{}]+\\}")
_FOUND: Final = "refkeep.route"
_ORIGINAL: Final = "refkeep.original"


class RouteTable:
    """Finds the template and the operation of a request without asking the framework."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = {(route.template, route.method): route for route in routes}
        self._templates = sorted({template for template, _ in self._routes}, key=_literal_first)
        self._pattern = re.compile("|".join(f"({_pattern(template)})" for template in self._templates) or "(?!)")

    def find(self, method: str, path: str) -> Route:
        """Return the route of `path`, with operation `unknown` for a method that it has not, or `UNKNOWN`."""
        match = self._pattern.fullmatch(path)
        if match is None or match.lastindex is None:
            return UNKNOWN
        template = self._templates[match.lastindex - 1]
        asked = "GET" if method == "HEAD" and (template, "HEAD") not in self._routes else method
        return self._routes.get((template, asked)) or Route(method, template, UNKNOWN.operation)


def _literal_first(template: str) -> list[tuple[bool, str]]:
    return [(segment.startswith("{"), segment) for segment in template.split("/")]


def _pattern(template: str) -> str:
    return _PARAMETER.sub("[^/]+", re.escape(template))


def instrument(app: App, routes: Iterable[Route]) -> App:
    """Wrap the framework's app: server span, handler lines, `X-Request-ID` on every answer.

    The instrumentation sees no query, where signatures stand, and no exception, whose message might hold anything; the
    app sees both as ever.
    """
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")
    prepare_propagation()
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # noqa: PLC0415 - reads both as it comes

    table = RouteTable(routes)
    traced = OpenTelemetryMiddleware(
        _Handled(app),
        default_span_details=_span_details,
        tracer=outlets().tracer,
        meter=outlets().meter,
        exclude_spans=["send", "receive"],
    )

    async def instrumented(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        crash: list[Exception] = []
        route = table.find(scope["method"], scope["path"])
        await traced({**scope, "query_string": b"", _FOUND: route, _ORIGINAL: (scope, crash)}, receive, send)
        if crash:
            raise crash[0]

    return instrumented


def _span_details(scope: Scope) -> tuple[str, dict[str, str]]:
    route: Route = scope[_FOUND]
    attributes = {"http.route": route.template, "url.path": redact(scope["path"])}
    agent = dict(scope["headers"]).get(b"user-agent", b"").decode("latin-1")
    return span_name(scope["method"], route.template), attributes | (
        {"user_agent.original": redact(agent)} if agent else {}
    )


class _Handled:
    """The innermost wrapper: the app with its own scope, inside the handler's record."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, shown: Scope, receive: Receive, send: Send) -> None:
        scope, crash = shown[_ORIGINAL]
        route: Route = shown[_FOUND]
        try:
            with observe_request(scope, operation=route.operation, route=route.template, server_span=False) as request:
                await self._app(scope, receive, _reporting(request, send))
        except Exception as error:  # noqa: BLE001 - carried past the instrumentation, raised again outside it
            crash.append(error)


def _reporting(request: RequestObservation, send: Send) -> Send:
    """Complete the record just before the last message, with which the instrumentation ends the span."""
    status = sent = 0

    async def reporting(message: Message) -> None:
        nonlocal status, sent
        if message["type"] == "http.response.start":
            status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), _id_header(request)]}
        elif message["type"] == "http.response.body":
            sent += len(message.get("body", b""))
            if not message.get("more_body", False):
                request.complete(status, response_bytes=sent)
        await send(message)

    return reporting


def _id_header(request: RequestObservation) -> tuple[bytes, bytes]:
    return b"x-request-id", request.correlation_id.encode()
