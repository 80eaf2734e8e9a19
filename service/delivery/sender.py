"""Sends one response over ASGI and notices when nobody reads it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import anyio
from anyio.lowlevel import checkpoint

from service.delivery.asgi import Headers, Receive, Scope, Send, sends_files
from service.domain.errors import StorageUnavailable
from service.ports.storage import ByteStream

PIECE = 256 * 1024
"""Bytes handed to the server at once: what a client must take within the stall limit to count as reading."""

STALL_SECONDS = 60.0

PACE, PACE_SECONDS = 4 * 1024 * 1024, 0.005
"""At most so many bytes in so many seconds (0.8 GB/s on one connection).

After an abort `send()` returns at once, for ever; without a pause the word of it, which comes through the event loop
from another thread, arrived after 200 to 700 MiB had been read.
"""


class ClientGone(Exception):
    """The connection ended before the response did."""

    outcome = "client_aborted"
    code = "client-aborted"


class ClientStalled(ClientGone):
    """The client took no piece for so long that the connection was cut."""

    code = "client-stalled"


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a response: bytes of body handed to the server, and why it broke off, if it did.

    A response that broke off stays incomplete, whereupon the server cuts the connection short of its Content-Length.
    """

    size: int
    failure: Exception | None = None


class Sender:
    """Sends one response.

    Servers report an abort only through `receive()`, while `send()` goes on succeeding: bodies of more than one piece
    are therefore pumped beside a watcher.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, stall_seconds: float = STALL_SECONDS) -> None:
        self._receive, self._send = receive, send
        self._stall_seconds = stall_seconds
        self._sends_files = sends_files(scope)
        self._sent = 0
        self._pace_from, self._pace_end = 0.0, PACE

    async def send(self, status: int, headers: Headers, body: bytes | ByteStream) -> Sent:
        """Send a response whose Content-Length is the size of `body`, and close a stream in every case.

        Never raises for a failing store or client, nor for a defect on the way: those are the `failure` of what is
        returned. A cancelled task ends as ever.
        """
        try:
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
            if isinstance(body, bytes):
                await self._pass_whole(body)
            else:
                await self._send_stream(body)
        except Exception as error:  # noqa: BLE001 - too late for another answer; the caller puts the failure on record
            return Sent(self._sent, error)
        finally:
            if not isinstance(body, bytes):
                with anyio.CancelScope(shield=True):
                    await body.aclose()
        return Sent(self._sent)

    async def _pass_whole(self, body: bytes) -> None:
        try:
            async with asyncio.timeout(self._stall_seconds):  # a tenth of the cost of a cancel scope
                await self._send({"type": "http.response.body", "body": body})
        except TimeoutError as error:
            raise ClientStalled from error
        self._sent = len(body)

    async def _send_stream(self, body: ByteStream) -> None:
        if body.path is not None and self._sends_files:
            await self._send({"type": "http.response.pathsend", "path": str(body.path)})
            self._sent = body.size
        elif body.size <= PIECE:
            await self._pump(body)
        else:
            await self._pump_watched(body)

    async def _pump_watched(self, body: ByteStream) -> None:
        failure: Exception | None = ClientGone()  # unless the pump comes to its own end
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cancel_on_disconnect, tasks.cancel_scope)
            try:
                await self._pump(body)
                failure = None
            except Exception as error:  # noqa: BLE001 - carried out of the group as it is, not as a group of one
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _cancel_on_disconnect(self, pump: anyio.CancelScope) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        pump.cancel()

    async def _pump(self, body: ByteStream) -> None:
        if body.size == 0:
            await self._pass_piece(b"", 0)
        async for chunk in body:
            for piece in _pieces(chunk):
                await self._pass_piece(piece, body.size)
        if self._sent < body.size:
            raise StorageUnavailable("The store ended before the object did.")

    async def _pass_piece(self, piece: bytes, size: int) -> None:
        more = self._sent + len(piece) < size
        with anyio.move_on_after(self._stall_seconds) as patience:
            await self._send({"type": "http.response.body", "body": piece, "more_body": more})
        if patience.cancelled_caught:
            raise ClientStalled
        self._sent += len(piece)
        if more:
            await self._let_watcher_see()

    async def _let_watcher_see(self) -> None:
        if self._sent < self._pace_end:
            await checkpoint()
            return
        await anyio.sleep(max(self._pace_from + PACE_SECONDS - anyio.current_time(), 0))
        self._pace_from, self._pace_end = anyio.current_time(), self._sent + PACE


def _pieces(chunk: bytes) -> Iterator[bytes]:
    if len(chunk) <= PIECE:
        return iter((chunk,))
    return (chunk[start : start + PIECE] for start in range(0, len(chunk), PIECE))
