"""A server that answers whatever is asked with given bytes and closes: what no service of ours would ever say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass


@dataclass
class Canned:
    """Where it listens, and how many requests came."""

    url: str = ""
    requests: int = 0


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """An answer whose `Content-Length` is that of its body unless another is given; `_` stands for `-`."""
    fields = {"content_length": str(len(body)), **headers}
    lines = [f"HTTP/1.1 {status} Said", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def unframed(body: bytes, **headers: str) -> bytes:
    """A 200 that ends where the connection does."""
    lines = ["HTTP/1.0 200 Said", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextlib.asynccontextmanager
async def saying(*contents: bytes) -> AsyncIterator[Canned]:
    """Such a server while the block runs; with several contents they come in turn, the last one again and again."""
    canned = Canned()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            canned.requests += 1
            writer.write(contents[min(canned.requests, len(contents)) - 1])
            await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        canned.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield canned
