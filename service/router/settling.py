"""Answers that come before the body was read: the rest of a small one is taken in, for any other the connection ends.

Left alone, the server would close the connection without a word, and a client that uses it again would lose a request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio

from service.router.gateway import App, Message, Receive, Scope, Send

MOST_BYTES = 64 * 1024
PATIENCE_SECONDS = 1.0
_RELEVANT = frozenset({b"content-length", b"expect", b"transfer-encoding"})


def settled(app: App) -> App:
    """`app`, whose early answers leave a connection that can be used again, or say that it cannot (RFC 9112 §9.6)."""

    async def settling(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        body = _Body(scope, receive)

        async def send_settled(message: Message) -> None:
            if message["type"] == "http.response.start" and not await body.settle():
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await app(scope, body.receive, send_settled)

    return settling


class _Body:
    """A request's body, and whether it has come to its end."""

    def __init__(self, scope: Scope, receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
        headers = {name: value for name, value in scope["headers"] if name in _RELEVANT}
        length = headers.get(b"content-length", b"")
        self._receive = receive
        self._ended = length in {b"", b"0"} and b"transfer-encoding" not in headers
        # Asking for the rest of a body that waits for its `100 Continue` would ask for all of it.
        self._is_small = b"expect" not in headers and length.isdigit() and int(length) <= MOST_BYTES

    async def receive(self) -> Message:
        """The next message of the server."""
        message = await self._receive()
        self._ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def settle(self) -> bool:
        """Whether nothing of the body is left to come."""
        if not self._ended and self._is_small:
            with anyio.move_on_after(PATIENCE_SECONDS):
                while not self._ended:
                    await self.receive()
        return self._ended
