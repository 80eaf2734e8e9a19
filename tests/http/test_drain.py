"""SIGTERM amid transfers: readiness red first, streams and waits end, transfers complete, nobody new comes in."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from random import Random

from tests.parts.caller import Caller
from tests.parts.service import Refkeep, Yard, eventually, readiness
from tests.parts.wire import bearer, head

MIB = 1024 * 1024
UPLOADS = DOWNLOADS = 20
DRAIN_S, EXIT_S = 2, 30
BLOB = Random(7).randbytes(8 * MIB)


@dataclass(frozen=True)
class Talk:
    """One connection in the middle of what it is about."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    rest: bytes = b""

    async def finish(self) -> tuple[int, bytes]:
        """Send what is left to send; status and body of the answer."""
        self.writer.write(self.rest)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        size = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
        return int(lines[0].split()[1]), await self.reader.readexactly(size)


async def begin(service: Refkeep, sent: bytes, rest: bytes = b"") -> Talk:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=64 * 1024)
    writer.write(sent)
    await writer.drain()
    return Talk(reader, writer, rest)


async def uploads(service: Refkeep, caller: Caller) -> list[Talk]:
    contents = [Random(number).randbytes(MIB) for number in range(UPLOADS)]
    heads = [
        head("PUT", f"/blobs/{sha256(content).hexdigest()}", {**bearer(caller.token), "Content-Length": MIB})
        for content in contents
    ]
    half = MIB // 2
    return [await begin(service, sent + each[:half], each[half:]) for sent, each in zip(heads, contents, strict=True)]


async def downloads(service: Refkeep, caller: Caller, path: str) -> list[Talk]:
    """Half of them whole, which the server sends itself, half of them a range; begun, and unread."""
    kinds = [{}, {"Range": "bytes=1-"}] * (DOWNLOADS // 2)
    return [await begin(service, head("GET", path, {**bearer(caller.token), **kind})) for kind in kinds]


async def refused(service: Refkeep) -> None:
    """Return once nobody new comes in."""
    with contextlib.suppress(ConnectionRefusedError):
        while True:
            _, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.transport.abort()
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def closing(talks: list[Talk]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for talk in talks:
            talk.writer.transport.abort()


async def drain_amid_transfers(service: Refkeep, caller: Caller, path: str) -> None:
    key = bearer(caller.token)
    ups, downs = await uploads(service, caller), await downloads(service, caller, path)
    stream = await begin(service, head("GET", "/events", {**key, "Accept": "text/event-stream"}))
    poll = await begin(service, head("GET", "/events?wait=25", key))
    idle = await begin(service, head("GET", "/livez"))
    async with closing([*ups, *downs, stream, poll, idle]):
        assert (await idle.finish())[0] == 200
        await stream.reader.readuntil(b"\r\n\r\n")
        for talk in downs:
            assert (await talk.reader.readexactly(12)).startswith(b"HTTP/1.1 20")
        began = time.monotonic()
        service.terminate()
        await asyncio.to_thread(eventually, lambda: readiness(service)[0] == 503, DRAIN_S)
        assert (await poll.finish())[0] == 200
        while await stream.reader.read(MIB):
            pass
        assert time.monotonic() - began < DRAIN_S + 1, "streams and waits end before the listener does"
        await refused(service)
        assert time.monotonic() - began > DRAIN_S - 0.5, "the balancer had its time to notice"
        assert service.process.poll() is None
        assert [status for status, _ in await asyncio.gather(*(talk.finish() for talk in ups))] == [201] * UPLOADS
        bodies = [body for _, body in await asyncio.gather(*(status_behind(talk) for talk in downs))]
        assert bodies == [BLOB, BLOB[1:]] * (DOWNLOADS // 2)
        assert await idle.reader.read() == b""
        assert await asyncio.to_thread(service.process.wait, EXIT_S) == 0
        assert time.monotonic() - began < EXIT_S


async def status_behind(talk: Talk) -> tuple[int, bytes]:
    """The rest of an answer whose status line has been read up to its second digit."""
    lines = (await talk.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
    size = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
    return size, await talk.reader.readexactly(size)


def test_everything_that_runs_at_sigterm_completes(yard: Yard) -> None:
    with yard.running(DRAIN=f"{DRAIN_S}s") as service:
        caller = service.caller("read", "write")
        name = caller.upload(BLOB)
        asyncio.run(asyncio.wait_for(drain_amid_transfers(service, caller, f"/blobs/{name}"), 100))
