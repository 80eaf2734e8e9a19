"""A TCP line to a server that can be cut: whoever is connected is thrown out, whoever comes is turned away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from anyio.from_thread import start_blocking_portal

_PIECE = 64 * 1024


@dataclass
class Cable:
    """Carries bytes to `upstream` and back. `refused` counts who was turned away."""

    upstream: tuple[str, int]
    port: int = 0
    refused: int = 0
    _is_cut: bool = False
    _lines: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """From now on, until `mend`."""
        self._is_cut = True
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._throw_out)

    def mend(self) -> None:
        """Carry again."""
        self._is_cut = False

    def _throw_out(self) -> None:
        for writer in self._lines:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            self.refused += 1
            writer.transport.abort()
            return
        with contextlib.suppress(ConnectionError):
            up_reader, up_writer = await asyncio.open_connection(*self.upstream)
            ours = {writer, up_writer}
            self._lines |= ours
            try:
                await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
            finally:
                self._lines -= ours
                for each in ours:
                    each.transport.abort()

    @contextlib.asynccontextmanager
    async def laid(self) -> AsyncIterator[Cable]:
        """Carry meanwhile."""
        self._loop, carrying = asyncio.get_running_loop(), set[asyncio.Task[None]]()

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._carry(reader, writer))
            carrying.add(task)
            task.add_done_callback(carrying.discard)

        server = await asyncio.start_server(begin, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in carrying:
                task.cancel()
            await asyncio.gather(*carrying, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_PIECE):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()


@contextlib.contextmanager
def laid_cable(host: str, port: int) -> Iterator[Cable]:
    """A cable to that server, in a thread."""
    cable = Cable((host, port))
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(cable.laid()):
        yield cable
