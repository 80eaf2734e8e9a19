"""A relay in front of a real HTTP server that does to requests what networks and overloaded servers do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

_HEAD_END = b"\r\n\r\n"
_EXPECTS = b"Expect: 100-continue\r\n"
_PIECE = 64 * 1024


@dataclass
class Fate:
    """What happens to one request: it is relayed, unless one of these says otherwise."""

    status: int | None = None
    """Answered with this status and `content`, never relayed; at once, where a request asks if it may send its body."""
    body_bytes: int | None = None
    """The connection is cut after so many bytes of the answer's body; with 0 the whole answer is lost."""
    silent: bool = False
    """Never answered."""
    retry_after: str | None = None
    """What `Retry-After` says beside `status`."""
    taken_bytes: int | None = None
    """The connection is reset after so many bytes of the request's body, of which nothing is relayed."""
    content: bytes = b""
    """The body beside `status`: a problem document."""
    pause_s: float = 0.0
    """Relayed only after so many seconds."""
    garbles_body: bool = False
    """The first byte of the request's body becomes another one."""
    garbles_answer: bool = False
    """The first byte of the answer's body becomes another one."""


RELAYED = Fate()


@dataclass
class Relay:
    """Forwards to `upstream`, each request on a connection of its own; `decide` gets each request's head."""

    upstream: tuple[str, int]
    decide: Callable[[bytes], Fate] = lambda _: RELAYED
    heads: list[bytes] = field(default_factory=list)
    port: int = 0
    handlers: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection comes in."""
        handler = asyncio.create_task(self._handle(reader, writer))
        self.handlers.add(handler)
        handler.add_done_callback(self.handlers.discard)

    async def aclose(self) -> None:
        """End what is under way: a handler that outlives the loop is a warning in whatever test comes next."""
        for handler in self.handlers:
            handler.cancel()
        await asyncio.gather(*self.handlers, return_exceptions=True)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer_one(reader, writer)
        finally:
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(_HEAD_END)
            self.heads.append(head)
            fate = self.decide(head)
            may_send = _EXPECTS not in head
            if fate.status is None and not (may_send or fate.silent):
                head = head.replace(_EXPECTS, b"")
                writer.write(b"HTTP/1.1 100 Continue" + _HEAD_END)
            if fate.silent:
                await reader.read()
            elif fate.taken_bytes is not None:
                await _consume(reader, fate.taken_bytes)
                writer.transport.abort()
            elif fate.status is None:
                await asyncio.sleep(fate.pause_s)
                await self._relay(head, fate, reader, writer)
            else:
                await _consume(reader, _length_of(head) if may_send else 0)
                await _pass_chunks(head if may_send else b"", reader, None)
                writer.write(_refusal(fate))
                await writer.drain()

    async def _relay(self, head: bytes, fate: Fate, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self.upstream)
        try:
            up_writer.write(head[:-2] + b"Connection: close" + _HEAD_END)
            left = _length_of(head)
            while left:
                piece = await reader.read(min(_PIECE, left))
                if not piece:
                    return
                up_writer.write(_garbled(piece) if fate.garbles_body and left == _length_of(head) else piece)
                left -= len(piece)
                await up_writer.drain()
            await _pass_chunks(head, reader, up_writer)
            await _answer(up_reader, writer, fate)
        finally:
            up_writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fate: Fate) -> None:
    head = await reader.readuntil(_HEAD_END)
    if fate.body_bytes == 0:
        await reader.read()
        return
    writer.write(head)
    garbles, left = fate.garbles_answer, fate.body_bytes if fate.body_bytes is not None else -1
    while left and (piece := await reader.read(min(_PIECE, left) if left > 0 else _PIECE)):
        left -= len(piece) if left > 0 else 0
        writer.write(_garbled(piece) if garbles else piece)
        garbles = False
        await writer.drain()


def _garbled(piece: bytes) -> bytes:
    return bytes([piece[0] ^ 1]) + piece[1:]


def _refusal(fate: Fate) -> bytes:
    lines = [f"HTTP/1.1 {fate.status} No", f"Content-Length: {len(fate.content)}", "Connection: close"]
    lines += [f"Retry-After: {fate.retry_after}"] if fate.retry_after is not None else []
    lines += ["Content-Type: application/problem+json"] if fate.content else []
    return "\r\n".join(lines).encode() + _HEAD_END + fate.content


async def _consume(reader: asyncio.StreamReader, left: int) -> None:
    while left and (piece := await reader.read(min(_PIECE, left))):
        left -= len(piece)


async def _pass_chunks(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None) -> None:
    """The body of a request that does not tell its length, as it is on the wire; to nowhere without a writer."""
    size = -1 if b"\r\ntransfer-encoding: chunked\r\n" in head.lower() else 0
    while size:
        line = await reader.readuntil(b"\r\n")
        size = int(line, 16)
        chunk = line + await reader.readexactly(size + 2)
        if writer is not None:
            writer.write(chunk)
            await writer.drain()


def _length_of(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


@contextlib.asynccontextmanager
async def running_relay(upstream: tuple[str, int]) -> AsyncIterator[Relay]:
    """Yield a relay that changes nothing until its `decide` is set."""
    relay = Relay(upstream)
    server = await asyncio.start_server(relay.begin, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        await relay.aclose()
