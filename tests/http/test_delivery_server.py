"""Delivery on the real server: what only shows when a real connection ends."""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from granian.constants import Interfaces
from granian.server.embed import Server

from service.delivery.endpoint import Delivery
from service.delivery.known import KnownGrants
from service.delivery.permissions import Permissions
from service.delivery.presets import Presets
from service.domain.blob import Sha256
from service.domain.policy import Policies
from service.ports.descriptors import Admission, BlobDescriptor, ServableBytes
from service.ports.storage import ByteStream
from service.router.problems import problem_answer

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop of production."""
    return "asyncio", {"use_uvloop": True}


MIB = 1024 * 1024
SIZE = 1024 * MIB
PATH = "/blobs/" + "cd" * 32

# A process of its own, so that the server's loop is as busy as it is with a stranger.
IMPATIENT = f"""
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.sendall(b"GET {PATH} HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    connection.recv({MIB}, socket.MSG_WAITALL)
"""


@dataclass
class Zeros:
    """A store faster than any network: a gibibyte of zeros, of which it has only `available`."""

    available: int = SIZE
    read: int = 0
    closed: asyncio.Event | None = None
    backend = "zeros"
    size = SIZE
    path = None

    async def open(self, *_: object) -> ByteStream:
        self.closed = asyncio.Event()
        return self

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.available // MIB):
            self.read += MIB
            yield bytes(MIB)

    async def aclose(self) -> None:
        assert self.closed is not None
        self.closed.set()


class OneBlob:
    """Descriptors that know one public blob."""

    async def of_blob(self, sha256: Sha256, _: str | None) -> BlobDescriptor:
        return BlobDescriptor(ServableBytes(sha256, SIZE, "video/mp4", "cd/cd/key"), public=True, held=False)

    async def of_ref(self, *_: object) -> None:
        return None

    async def admission(self, *_: object) -> Admission:
        return Admission(public=True, own=False)


async def nobody(headers: Mapping[str, str]) -> None:
    return None


@asynccontextmanager
async def serving(store: Zeros, **options: float) -> AsyncIterator[int]:
    """Serve `store` on a free port of the loopback."""
    permissions = Permissions(OneBlob(), nobody, KnownGrants(1))
    making: Any = None  # nobody asks for a preset
    presets = Presets(permissions, Policies(()), making)
    delivery = Delivery(permissions, store, problem_answer, presets, **options)  # type: ignore[arg-type] # opens only
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]

    async def app(scope, receive, send):  # type: ignore[no-untyped-def] # the server's own words
        if scope["type"] == "http":
            await delivery(scope, receive, send)

    server: Any = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL)
    running = asyncio.create_task(server.serve())
    try:
        yield port
    finally:
        server.stop()
        with anyio.fail_after(10):
            await running


async def _connect(port: int) -> tuple[StreamReader, StreamWriter]:
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port, limit=64 * 1024)
        except ConnectionRefusedError:  # the server is still starting
            await anyio.sleep(0.01)


async def ask(port: int, method: str = "GET") -> tuple[StreamReader, StreamWriter]:
    with anyio.fail_after(10):
        reader, writer = await _connect(port)
    writer.write(f"{method} {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return reader, writer


async def test_an_aborted_download_of_a_gibibyte_reads_at_most_16_mebibytes() -> None:
    store = Zeros()
    async with serving(store) as port:
        _, writer = await ask(port, "HEAD")
        writer.close()
        with anyio.fail_after(10):
            await anyio.run_process([sys.executable, "-c", IMPATIENT, str(port)])
            assert store.closed is not None
            await store.closed.wait()
    assert store.read <= 16 * MIB


async def test_a_short_body_ends_the_connection_before_its_length() -> None:
    async with serving(Zeros(available=2 * MIB)) as port:
        reader, writer = await ask(port)
        with anyio.fail_after(10):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.read(-1)
        writer.close()
    assert f"content-length: {SIZE}".encode() in head
    assert len(body) == 2 * MIB


async def test_a_client_that_reads_nothing_is_cut() -> None:
    store = Zeros()
    async with serving(store, stall_seconds=0.2) as port:
        reader, writer = await ask(port)
        await reader.readuntil(b"\r\n\r\n")
        assert store.closed is not None
        with anyio.fail_after(10):
            await store.closed.wait()
            while await reader.read(MIB):
                pass
        writer.close()
    assert store.read < SIZE


async def test_head_tells_the_length_and_keeps_the_connection() -> None:
    async with serving(Zeros()) as port:
        reader, writer = await ask(port, "HEAD")
        with anyio.fail_after(10):
            first = await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HEAD {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            second = await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert f"content-length: {SIZE}".encode() in first
    assert second.startswith(b"HTTP/1.1 200")
