"""A main process for test_processes.py: ours, around an application whose every answer takes its time.

The argument is `dev` (with the embedded Postgres) or `serve`; settings come from the environment.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext

import asyncpg

from service.adapters.postgres.embedded import embedded_postgres
from service.drain import Drain
from service.server import AsgiApp, Message, serve
from service.settings import load_settings

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PIECES, PIECE, PAUSE_S = 10, b"x" * 1000, 0.05


class SlowApp:
    """One method a path; `dsn` is where `/visit` and `/late` write."""

    def __init__(self, drain: Drain, dsn: str | None) -> None:
        self._drain = drain
        self._dsn = dsn
        self._alive = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer by path; anything else is a crash."""
        name = "lifespan" if scope["type"] == "lifespan" else scope["path"].lstrip("/")
        await getattr(self, f"_{name}")(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._alive = "die" not in sys.argv
        await send({"type": f"lifespan.startup.{'complete' if self._alive else 'failed'}"})
        await receive()
        self._alive = False
        await send({"type": "lifespan.shutdown.complete"})

    async def _readyz(self, _receive: Receive, send: Send) -> None:
        await _answer(send, b"", status=503 if self._drain.draining else 200)

    async def _pid(self, _receive: Receive, send: Send) -> None:
        await _answer(send, str(os.getpid()).encode())

    async def _visit(self, _receive: Receive, send: Send) -> None:
        connection = await asyncpg.connect(self._dsn)
        await connection.execute("CREATE TABLE IF NOT EXISTS visits (at timestamptz)")
        await connection.execute("INSERT INTO visits VALUES (now())")
        visits = await connection.fetchval("SELECT count(*) FROM visits")
        await connection.close()
        await _answer(send, str(visits).encode())

    async def _late(self, receive: Receive, send: Send) -> None:
        await self._drain.wait()
        await self._visit(receive, send)

    async def _slow(self, _receive: Receive, send: Send) -> None:
        await _start(send, PIECES * len(PIECE))
        for _ in range(PIECES):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            await asyncio.sleep(PAUSE_S)
        if self._alive:
            await send({"type": "http.response.body", "body": b""})

    async def _upload(self, receive: Receive, send: Send) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        await _answer(send, str(size if self._alive else -1).encode())


async def _answer(send: Send, body: bytes, status: int = 200) -> None:
    await _start(send, len(body), status)
    await send({"type": "http.response.body", "body": body})


async def _start(send: Send, length: int, status: int = 200) -> None:
    headers = [(b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})


def main(command: str) -> None:
    """Serve, with the embedded Postgres for `dev`."""
    settings = load_settings(os.environ)
    with embedded_postgres(settings.data_dir) if command == "dev" else nullcontext(None) as dsn:

        def build(drain: Drain) -> AsgiApp:
            return SlowApp(drain, dsn)

        serve(settings, build)


if __name__ == "__main__":
    main(sys.argv[1])
