"""Bodies that come piece by piece, for as long as somebody reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import checkpoint
from litestar import Response
from litestar.response.streaming import ASGIStreamingResponse

from service.observability import current
from service.router.body import ClientAborted
from service.router.gateway import HEAD
from service.router.intake import HttpRequest

T = TypeVar("T")

STALL_SECONDS = 60.0
"""How long a client may take for one piece; behind it the connection is cut."""


class ClientStalled(Exception):
    """The client took no piece for so long that nobody waits for it any more."""

    outcome = "client_aborted"
    code = "client-stalled"


def is_head(request: HttpRequest) -> bool:
    """Whether the answer goes without its body."""
    return bool(request.scope.get(HEAD))


async def unless_gone(request: HttpRequest, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; it is cancelled when the client goes away meanwhile. Raises `ClientAborted` then.

    For requests whose body has been read, or that have none.
    """
    working, gone = asyncio.create_task(work), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientAborted(0)
        return working.result()
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.wait({working, gone})


async def _gone(request: HttpRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Streamed(Response[bytes]):
    """A response whose body is `pieces`, closed in every case. If they raise, the connection is cut short.

    `no-store`, and a word to nginx not to collect it first.
    """

    def __init__(self, pieces: AsyncIterator[bytes], media_type: str) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(b"", headers=headers, media_type=media_type)
        self._pieces = pieces

    def to_asgi_response(self, app: Any, request: Any, **given: Any) -> ASGIStreamingResponse:  # noqa: ARG002
        """The framework's way to the server."""
        return _Watched(iterator=self._pieces, headers=_text(self.headers), media_type=self.media_type, status_code=200)


class _Watched(ASGIStreamingResponse):
    """Sends at the reader's pace, and not to one who has left or stands still."""

    async def send_body(self, send: Any, receive: Any) -> None:
        """Servers report an abort only through `receive()`, while `send()` goes on succeeding."""
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cancel_when_gone, tasks.cancel_scope, receive)
            try:
                await self._pump(send)
            except Exception as error:  # noqa: BLE001 - carried out of the group as it is, not as a group of one
                failure = error
            finally:
                with anyio.CancelScope(shield=True):
                    await self.iterator.aclose()  # type: ignore[union-attr]
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _pump(self, send: Any) -> None:
        async for piece in self.iterator:
            with anyio.move_on_after(STALL_SECONDS) as patience:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            if patience.cancelled_caught:
                raise ClientStalled
            await checkpoint()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _cancel_when_gone(self, pump: anyio.CancelScope, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        pump.cancel()


def name_stream(operation: str) -> None:
    """Let the request's record say what it is; inner layers, again and again the same, go to DEBUG."""
    observation = current()
    if observation is not None:
        observation.become(operation)


def note_failure(error: Exception) -> None:
    """Let the request's record tell why its stream ended."""
    observation = current()
    if observation is not None:
        observation.note_failure(error)


def _text(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in headers.items()}
