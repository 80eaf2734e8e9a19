"""The front door: one spelling for every path, delivery for bytes, the framework for everything else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from service.router.admission import refusal_of
from service.router.problems import instance_of, problem_answer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEAD = "refkeep.head"
"""A member of scopes whose answer goes without its body: what waits or streams for a reader need not begin."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """An ASGI application over two. `is_delivery` recognises the requests for bytes."""

    delivery: App
    api: App
    is_delivery: Callable[[Scope], bool]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass the lifespan on."""
        if scope["type"] == "http" and self.is_delivery(scope) and _refusal_of(scope) is None:
            await self.delivery(scope, receive, send)
        else:
            await self.api(scope, receive, send)


def guarded(app: App) -> App:
    """`app` for requests that are fit to be handled; a problem for the others."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        refusal = _refusal_of(scope) if scope["type"] == "http" else None
        if refusal is None:
            await app(scope, receive, send)
            return
        status, headers, body = problem_answer(*refusal, instance_of(scope))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return guard


def with_head(app: App) -> App:
    """`app` with HEAD wherever it has GET: the same answer without its body (RFC 9110 §9.3.2)."""

    async def headed(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        if scope["type"] == "http" and scope["method"] == "HEAD":
            await app({**scope, "method": "GET", HEAD: True}, receive, send_head)
        else:
            await app(scope, receive, send)

    return headed


def _refusal_of(scope: Scope) -> tuple[str, str] | None:
    raw_path = scope.get("raw_path") or scope["path"].encode()
    return refusal_of(raw_path, scope["http_version"], scope["headers"])
