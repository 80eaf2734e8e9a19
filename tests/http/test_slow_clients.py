"""Clients that do not read, do not send or do so by drops, against the service as shipped, with its own patience."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from statistics import median

import psutil
import pytest

from tests.parts.caller import Caller, sha256_of
from tests.parts.fresh import fresh_text
from tests.parts.service import Refkeep, Yard
from tests.parts.wire import Heard, bearer, head, overhear

MIB = 1024 * 1024
SIZE = 64 * MIB
POOL_SIZE = 3
UNREAD_S, UPLOAD_S = 60, 30
LATE_S = 15
"""How much later than due the end of a connection may show here: the machine has other work."""
PATIENCE_S = UNREAD_S + LATE_S
STALLED = {"whole": {}, "part": {"Range": "bytes=1-"}, "parts": {"Range": f"bytes=0-{SIZE // 2},{SIZE // 2 + 9}-"}}
DRIPPING, SILENT = "two bytes a second", "silent"


@dataclass(frozen=True)
class Ordeal:
    """What became of everyone: seconds until readers were cut, answers to uploads, and to those between."""

    service: Refkeep
    cut_after: dict[str, float]
    uploads: dict[str, Heard]
    others: list[tuple[int, float]]
    before: set[tuple[str, str]]


@dataclass
class Connections:
    """The ports of all clients whose connections the service has open, as of a moment ago."""

    service: Refkeep
    ports: set[int] = field(default_factory=set)

    async def follow(self) -> None:
        """Look again and again, for everyone: a look takes its time where there are many processes."""
        while True:
            self.ports = await asyncio.to_thread(self._look)
            await asyncio.sleep(0.5)

    def _look(self) -> set[int]:
        workers = psutil.Process(self.service.process.pid).children(recursive=True)
        found = [connection for worker in workers for connection in worker.net_connections("tcp")]
        return {connection.raddr.port for connection in found if connection.status == "ESTABLISHED"}


async def stall(connections: Connections, path: str, headers: dict[str, object], name: str) -> float:
    """Ask, read a little, then nothing more; the seconds until the service has no such connection."""
    _, writer = await asyncio.open_connection("127.0.0.1", connections.service.port, limit=1024)
    port = writer.get_extra_info("sockname")[1]
    writer.write(head("GET", path, {**headers, "X-Request-ID": f"stalled-{name}"}))
    began = time.monotonic()
    for is_open in (True, False):
        while (port in connections.ports) is not is_open:
            assert time.monotonic() - began < PATIENCE_S, "never there" if is_open else "never cut"
            await asyncio.sleep(0.2)
    writer.transport.abort()
    return time.monotonic() - began


async def drip(service: Refkeep, caller: Caller, pieces: list[bytes]) -> Heard:
    content = fresh_text(1000)
    sending = head("PUT", f"/blobs/{sha256_of(content)}", {**bearer(caller.token), "Content-Length": len(content)})
    return await overhear(service.port, sending, *pieces, pause=0.5, patience=PATIENCE_S)


async def ask_now_and_then(caller: Caller, answers: list[tuple[int, float]]) -> None:
    while True:
        began = time.monotonic()
        response = await asyncio.to_thread(caller.http.get, "/refs/book/42")
        answers.append((response.status_code, time.monotonic() - began))
        await asyncio.sleep(1)


async def endure(service: Refkeep, caller: Caller, path: str) -> Ordeal:
    before, others = await asyncio.to_thread(service.contents), list[tuple[int, float]]()
    connections = Connections(service)
    beside = [asyncio.create_task(connections.follow()), asyncio.create_task(ask_now_and_then(caller, others))]
    key = bearer(caller.token)
    readers = {
        f"{name} {number}": stall(connections, path, {**key, **headers}, f"{name}-{number}")
        for name, headers in STALLED.items()
        for number in range(POOL_SIZE + 1)
    }
    senders = {DRIPPING: drip(service, caller, [b"a"] * 300), SILENT: drip(service, caller, [b"a" * 500])}
    cut, sent = await asyncio.gather(asyncio.gather(*readers.values()), asyncio.gather(*senders.values()))
    for task in beside:
        task.cancel()
    return Ordeal(service, dict(zip(readers, cut, strict=True)), dict(zip(senders, sent, strict=True)), others, before)


@pytest.fixture(scope="module")
def ordeal(yard: Yard) -> Iterator[Ordeal]:
    """All of them at the same time, which takes a good minute of doing nothing."""
    with yard.running(POOL_SIZE=POOL_SIZE) as service:
        caller = service.caller("read", "write")
        name = caller.upload(Random(1).randbytes(MIB) * (SIZE // MIB))
        yield asyncio.run(endure(service, caller, f"/blobs/{name}"))


@pytest.mark.parametrize("kind", STALLED)
def test_a_client_that_does_not_read_is_cut_after_a_minute(ordeal: Ordeal, kind: str) -> None:
    for name, seconds in ordeal.cut_after.items():
        if name.startswith(f"{kind} "):
            assert UNREAD_S - 1 < seconds < UNREAD_S + LATE_S


def test_nobody_else_waits_meanwhile(ordeal: Ordeal) -> None:
    """There are more clients that do not read than connections to the database.

    Who waited for one of them would wait for most of its minute; a busy machine makes one or the other wait, too.
    """
    assert len(ordeal.others) > UNREAD_S / 2
    assert {status for status, _ in ordeal.others} == {200}
    waits = [seconds for _, seconds in ordeal.others]
    assert median(waits) < 1
    assert max(waits) < UNREAD_S / 4


@pytest.mark.parametrize("kind", [DRIPPING, SILENT])
def test_an_upload_that_does_not_come_is_ended_in_time(ordeal: Ordeal, kind: str) -> None:
    heard = ordeal.uploads[kind]
    assert heard.statuses == [408]
    assert heard.answers[0].json()["code"] == "request-timeout"
    assert heard.closed
    assert UPLOAD_S - 1 < heard.seconds < 40


def test_uploads_that_did_not_come_leave_nothing(ordeal: Ordeal) -> None:
    assert not ordeal.service.added_since(ordeal.before)


def test_no_line_tells_of_bytes_that_nobody_knows_to_have_arrived(ordeal: Ordeal) -> None:
    lines = [json.loads(line) for line in ordeal.service.log.read_text().splitlines() if "stalled-part" in line]
    ended = [line for line in lines if line["event"] == "request_completed"]
    assert len(ended) == 2 * (POOL_SIZE + 1)
    assert {line["outcome"] for line in ended} == {"client_aborted"}
    assert not any("response_bytes" in line for line in ended)
