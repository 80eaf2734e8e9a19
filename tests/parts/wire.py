"""HTTP by hand on a socket: for what no well-behaved client would ever send."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 20.0


@dataclass(frozen=True)
class RawResponse:
    """What came back; header names in lower case."""

    status_code: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True)
class Wire:
    """One connection."""

    socket: socket.socket

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def end_of_sending(self) -> None:
        """Close our half: nothing more comes from here."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Be gone at once, without a goodbye."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def response(self, method: str = "GET") -> RawResponse | None:
        """The next response, None where the connection ended instead."""
        try:
            lines = self._head()
        except (EOFError, ConnectionResetError):
            return None
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        status = int(lines[0].split()[1])
        bodiless = method == "HEAD" or status < 200 or status in {204, 304}
        return RawResponse(status, headers, b"" if bodiless else self._take(int(headers["content-length"])))

    def closed(self) -> bool:
        """Whether the service ends the connection without another byte."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _head(self) -> list[str]:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._take(1)
        return head.decode("latin-1").rstrip().split("\r\n")

    def _take(self, size: int) -> bytes:
        taken = b""
        while len(taken) < size:
            piece = self.socket.recv(size - len(taken))
            if not piece:
                raise EOFError
            taken += piece
        return taken


@contextlib.contextmanager
def connected(port: int) -> Iterator[Wire]:
    """A connection to a port of the loopback interface."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        yield Wire(connection)


def exchange(port: int, *pieces: bytes, end: bool = False, method: str = "GET") -> RawResponse:
    """What the service answers to these bytes; `end` says that nothing more comes."""
    with connected(port) as wire:
        for piece in pieces:
            wire.send(piece)
        if end:
            wire.end_of_sending()
        answer = wire.response(method)
    assert answer is not None, "the connection ended without an answer"
    return answer


def head(method: str, target: str | bytes, headers: Mapping[str, object] | None = None) -> bytes:
    """The head of a request; `target` as it shall stand on the wire."""
    spelled = target if isinstance(target, bytes) else target.encode()
    lines = [method.encode() + b" " + spelled + b" HTTP/1.1", b"Host: refkeep"]
    lines += [f"{name}: {value}".encode("latin-1") for name, value in (headers or {}).items()]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def bearer(token: str) -> dict[str, object]:
    return {"Authorization": f"Bearer {token}"}


def chunked(*chunks: bytes) -> bytes:
    """A body in chunks, to its end."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


@dataclass(frozen=True)
class Heard:
    """All that came on one connection: whole answers in order, what stood behind them, and how it ended."""

    answers: list[RawResponse]
    rest: bytes
    closed: bool
    seconds: float

    @property
    def statuses(self) -> list[int]:
        return [answer.status_code for answer in self.answers]


async def overhear(
    port: int, *pieces: bytes, end: bool = False, pause: float = 0, patience: float = PATIENCE_S
) -> Heard:
    """Send these bytes, with a pause behind each piece, and listen until the service closes or patience ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began, heard, closed = time.monotonic(), bytearray(), False

    async def speak() -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        if end:
            writer.write_eof()

    speaking = asyncio.create_task(speak())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while piece := await _read(reader):
                heard += piece
            closed = True
    seconds = time.monotonic() - began
    speaking.cancel()
    await asyncio.gather(speaking, return_exceptions=True)  # whoever is cut off cannot finish
    writer.transport.abort()
    answers, rest = parsed(bytes(heard))
    return Heard(answers, rest, closed, seconds)


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(64 * 1024)
    except ConnectionError:
        return b""


def parsed(heard: bytes) -> tuple[list[RawResponse], bytes]:
    """All whole answers, and what stands behind them."""
    answers: list[RawResponse] = []
    while (end := heard.find(b"\r\n\r\n")) >= 0 and heard.startswith(b"HTTP/1."):
        lines = heard[:end].decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        size = int(headers.get("content-length", 0))
        if len(heard) < end + 4 + size:
            break
        answers.append(RawResponse(int(lines[0].split()[1]), headers, heard[end + 4 : end + 4 + size]))
        heard = heard[end + 4 + size :]
    return answers, heard
