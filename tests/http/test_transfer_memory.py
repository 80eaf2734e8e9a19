"""Twenty transfers of 256 MiB at once, in bounded memory."""

from __future__ import annotations

import asyncio

from tests.parts.blobs import MIB, large
from tests.parts.caller import Caller
from tests.parts.service import Refkeep, Yard
from tests.parts.wire import bearer, head

SIZE_MIB, MOST_MIB = 256, 200
WHOLE, RANGES, UPLOADS = 8, 8, 4


async def download(service: Refkeep, request: bytes) -> int:
    """The size of the answer's body, none of it kept."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(request)
    await reader.readuntil(b"\r\n\r\n")
    size = 0
    while piece := await reader.read(MIB):
        size += len(piece)
    writer.close()
    return size


async def upload(service: Refkeep, caller: Caller, number: int) -> int:
    """The status of the answer to a body that no other upload has."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(
        head("POST", "/blobs", {**bearer(caller.token), "Content-Length": SIZE_MIB * MIB, "Connection": "close"})
    )
    for place in range(SIZE_MIB):
        writer.write(bytes([number, place]) * (MIB // 2))
        await writer.drain()
    status = int((await reader.readuntil(b" 201 ")).split()[1])
    await reader.read()
    writer.close()
    return status


async def transfer(service: Refkeep, caller: Caller, path: str) -> tuple[list[int], list[int]]:
    asked = {**bearer(caller.token), "Connection": "close"}
    kinds = [head("GET", path, asked)] * WHOLE + [head("GET", path, {**asked, "Range": "bytes=1-"})] * RANGES
    down = asyncio.gather(*(download(service, request) for request in kinds))
    up = asyncio.gather(*(upload(service, caller, number) for number in range(UPLOADS)))
    return await down, await up


def test_twenty_transfers_at_once_need_little_memory(yard: Yard) -> None:
    with yard.running() as service:
        caller = service.caller("read", "write")
        name = caller.http.post("/blobs", content=large(SIZE_MIB)).json()["blob"]["sha256"]
        growth = service.restart_memory_watch()
        sizes, statuses = asyncio.run(transfer(service, caller, f"/blobs/{name}"))
        assert sizes == [SIZE_MIB * MIB] * WHOLE + [SIZE_MIB * MIB - 1] * RANGES
        assert statuses == [201] * UPLOADS
        assert growth() < MOST_MIB * MIB
