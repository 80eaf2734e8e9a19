"""The front door: one spelling for every path, delivery for bytes, the framework for everything else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from service.router.paths import is_canonical
from service.router.problems import problem_answer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Gateway:
    """An ASGI application over two. `is_delivery` recognises the requests for bytes."""

    delivery: App
    api: App
    is_delivery: Callable[[Scope], bool]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass the lifespan on."""
        if scope["type"] == "http" and self.is_delivery(scope):
            await self.delivery(scope, receive, send)
        else:
            await self.api(scope, receive, send)


def only_canonical(app: App) -> App:
    """`app` for paths in their one spelling, 404 for any other."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        raw_path = scope.get("raw_path") or scope.get("path", "").encode()
        if scope["type"] != "http" or is_canonical(raw_path):
            await app(scope, receive, send)
            return
        status, headers, body = problem_answer("not-found", "Nothing is here.", scope["path"])
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return guarded
