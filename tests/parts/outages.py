"""Databases that go away: killed, frozen with all their connections, or behind a network that swallows everything."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import psutil

from service.adapters.postgres.embedded import EmbeddedPostgres

_PIECE = 64 * 1024


class Outage(Protocol):
    """A Postgres of its own, which `begin` takes away and `end` gives back; `url` is where the service finds it."""

    @property
    def url(self) -> str: ...

    def begin(self) -> None: ...

    def end(self) -> None: ...


@dataclass(frozen=True)
class Killed:
    """No process, and connections are refused, until it is started again."""

    server: EmbeddedPostgres

    @property
    def url(self) -> str:
        return self.server.dsn

    def begin(self) -> None:
        _main_process(self.server).kill()

    def end(self) -> None:
        self.server.stop()
        self.server.start()


@dataclass(frozen=True)
class Frozen:
    """Every process stands still: connections are accepted by the kernel, and nothing is ever said."""

    server: EmbeddedPostgres

    @property
    def url(self) -> str:
        return self.server.dsn

    def begin(self) -> None:
        self._all(signal.SIGSTOP)

    def end(self) -> None:
        self._all(signal.SIGCONT)

    def _all(self, number: signal.Signals) -> None:
        main = _main_process(self.server)
        main.send_signal(number)
        for child in main.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.send_signal(number)


@dataclass(frozen=True)
class Cut:
    """A network that swallows everything, and what was said on older connections for ever."""

    network: Network

    @property
    def url(self) -> str:
        return f"postgresql://refkeep@127.0.0.1:{self.network.port}/postgres"

    def begin(self) -> None:
        self.network.cut()

    def end(self) -> None:
        self.network.mend()


class Network:
    """Carries connections to a Unix socket, in a thread of its own.

    After a cut what clients have sent still arrives, their goodbyes included; they hear nothing on old connections.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._whole.set()
        self._cuts = 0
        self._tasks = set[asyncio.Task[None]]()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server: asyncio.Server
        self.port = 0

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        self._cuts += 1
        self._loop.call_soon_threadsafe(self._whole.clear)

    def mend(self) -> None:
        self._loop.call_soon_threadsafe(self._whole.set)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cuts = self._cuts
        try:
            await self._whole.wait()
            with suppress(OSError):
                up_reader, up_writer = await asyncio.open_unix_connection(self._upstream)
                forth = self._pump(reader, up_writer)
                back = self._pump(up_reader, writer, while_cuts=cuts)
                await asyncio.gather(forth, back)
        finally:
            writer.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, while_cuts: int | None = None
    ) -> None:
        with suppress(OSError):
            while piece := await reader.read(_PIECE):
                await self._whole.wait()
                if while_cuts in {None, self._cuts}:
                    writer.write(piece)
                    await writer.drain()
        await self._whole.wait()
        writer.close()


@contextmanager
def killed(folder: Path) -> Iterator[Outage]:
    with EmbeddedPostgres(folder) as server:
        yield Killed(server)


@contextmanager
def frozen(folder: Path) -> Iterator[Outage]:
    with EmbeddedPostgres(folder) as server:
        outage = Frozen(server)
        try:
            yield outage
        finally:
            outage.end()


@contextmanager
def cut(folder: Path) -> Iterator[Outage]:
    with EmbeddedPostgres(folder) as server:
        [socket_folder] = parse_qs(urlsplit(server.dsn).query)["host"]
        network = Network(os.path.join(socket_folder, ".s.PGSQL.5432"))  # noqa: PTH118 - /proc/self/fd is no path
        network.start()
        try:
            yield Cut(network)
        finally:
            network.stop()


def _main_process(server: EmbeddedPostgres) -> psutil.Process:
    """Postgres itself, whatever switches users in front of it."""
    assert server._process is not None
    return psutil.Process(server._process.pid)
