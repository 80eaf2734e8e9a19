"""Answers that come before the body was read: the rest of a small one is taken in, for any other the connection ends.

Left alone, the server would close the connection without a word, and a client that uses it again would lose a request.
"""

from __future__ import annotations

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
        exchange = _Exchange(scope, receive, send)
        try:
            await app(scope, exchange.receive, exchange.send)
        finally:
            exchange.let_go()

    return settling


class _Exchange:
    """A request's body, whether it has come to its end, and the way of the answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value for name, value in scope["headers"] if name in _RELEVANT}
        length = headers.get(b"content-length", b"")
        self._receive, self._send = receive, send
        self._ended = length in {b"", b"0"} and b"transfer-encoding" not in headers
        # Asking for the rest of a body that waits for its `100 Continue` would ask for all of it.
        self._is_small = b"expect" not in headers and length.isdigit() and int(length) <= MOST_BYTES

    async def receive(self) -> Message:
        """The next message of the server."""
        message = await self._receive()
        self._ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass a message of the answer on."""
        if message["type"] == "http.response.start" and not await self.settle():
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await self._send(message)

    def let_go(self) -> None:
        """Forget the server, which keeps a connection for as long as anybody may still ask for its body.

        An exception and the frames of its traceback can hold each other, and all that stood in them, until the next
        collection of garbage; an idle service has none.
        """
        self._receive, self._send = _over, _over

    async def settle(self) -> bool:
        """Whether nothing of the body is left to come."""
        if not self._ended and self._is_small:
            with anyio.move_on_after(PATIENCE_SECONDS):
                while not self._ended:
                    await self.receive()
        return self._ended


async def _over(*_: object) -> Any:
    raise RuntimeError("The exchange is over.")
