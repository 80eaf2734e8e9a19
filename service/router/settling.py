"""Answers that come before the body was read: the rest of a small one is taken in, for any other the connection ends.

Left alone, the server would close the connection without a word, and a client that uses it again would lose a request.
Nor may it close at once: what still arrives at a closed connection is answered with a reset, which takes the answer
from a client that reads only when it has sent everything (RFC 9112 §9.6). So it lingers, and throws away what comes.
"""

from __future__ import annotations

from typing import Any

import anyio

from service.router.gateway import App, Message, Receive, Scope, Send

MOST_BYTES = 64 * 1024
PATIENCE_SECONDS = 1.0
LINGER_BYTES, LINGER_SECONDS, LINGER_SILENCE_SECONDS = 32 * 1024 * 1024, 10.0, 2.0
"""How much of a refused body is taken after its answer, for how long, and how long nothing of it may come."""
_TOO_SLOW = 408
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
            await exchange.linger()
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
        self._comes_unasked = b"expect" not in headers
        self._is_small = self._comes_unasked and length.isdigit() and int(length) <= MOST_BYTES
        self._lingers = False

    async def receive(self) -> Message:
        """The next message of the server."""
        message = await self._receive()
        self._ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass a message of the answer on."""
        if message["type"] == "http.response.start" and not await self.settle():
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            self._lingers = self._comes_unasked and message["status"] != _TOO_SLOW
        await self._send(message)

    async def linger(self) -> None:
        """Throw away what still comes of a body that was answered before its end; not of one that came too slowly."""
        if not self._lingers:
            return
        taken = 0
        with anyio.move_on_after(LINGER_SECONDS):
            while not self._ended and taken < LINGER_BYTES:
                message: Message = {}
                with anyio.move_on_after(LINGER_SILENCE_SECONDS):
                    message = await self.receive()
                if not message:
                    return
                taken += len(message.get("body", b""))

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
