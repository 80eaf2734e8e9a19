"""I13, I14: whoever writes, rolls back, is cut off or restarts, each reader reads each event once and in its order.

Longer: FEED_SECONDS=600, beside the time that the restarts take. Another course of things: FEED_SEED=7.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from uuid_utils.compat import uuid7

from service.adapters.postgres.database import Database
from service.adapters.postgres.log import INSERT_EVENT, event_columns
from service.domain.decision import Decision, RoleState
from service.domain.event import DecisionKind, EventType, RefEvent
from service.ports.refs import RoleQuestion
from service.schemas.cursor import Cursor
from tests.parts.audit import ledger_flaws
from tests.parts.ledgers import ACTOR, attach, book, opened_database, postgres_ledger, release
from tests.parts.postgres import PostgresServer, session
from tests.parts.seaweed import free_ports
from tests.parts.service import Refkeep, Yard, is_ready

SECONDS = float(os.environ.get("FEED_SECONDS", "20"))
SEED = int(os.environ.get("FEED_SEED", "4711"))
WRITERS, POLLERS, STREAMS, RESTARTS = 8, 4, 2, max(2, int(SECONDS / 15))
PATIENCE_S = 60
_PLACE = "SELECT pg_current_xact_id()::text::bigint AS txid, refkeep_now() AS now"
_ALL = "SELECT epoch, txid, seq FROM events WHERE workspace_id = $1 ORDER BY epoch, txid, seq"


@dataclass
class Reader:
    """What one client has read: ids in the order of their coming, and how often it had to come again."""

    name: str
    ids: list[str] = field(default_factory=list)
    versions: dict[str, list[int]] = field(default_factory=dict)
    interruptions: int = 0

    def read(self, event: dict[str, Any]) -> None:
        self.ids.append(event["id"])
        if event["data"]["decision"] != "reject" and "entity" in event["data"]:
            self.versions.setdefault(event["subject"], []).append(event["data"]["entity"]["version"])


@dataclass
class Storm:
    """The service that is restarted, the workspace that everyone writes to and reads, and whether it is over."""

    yard: Yard
    settings: dict[str, Any]
    workspace: str
    token: str
    dice: random.Random
    database: Database = field(init=False)
    written: set[str] = field(default_factory=set)
    is_over: bool = False
    last: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings['PORT']}"

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers={"authorization": f"Bearer {self.token}"}, timeout=35)


# --- writers ----------------------------------------------------------------------------------------------------------


async def write(storm: Storm, number: int, hashes: list[Any]) -> None:
    """Changes of a few entities that all writers share; every third time something comes to nothing."""
    dice, ledger = random.Random(storm.dice.random()), postgres_ledger(storm.database)
    while not storm.is_over:
        entity = book(storm.workspace, dice.randrange(3))
        cover = attach(entity, "cover", dice.choice(hashes), 0)
        outcome = await ledger.change(cover if dice.random() < 0.8 else release(entity, "cover", 0))
        if (event_id := getattr(outcome, "event_id", None)) is not None:
            storm.written.add(event_id)
        if dice.random() < 0.3:
            await change_of_mind(storm, number)
        if dice.random() < 0.3:
            await dawdle(storm, dice)


async def change_of_mind(storm: Storm, number: int) -> None:
    """A transaction that had its place in the log, and raised."""

    class ChangedMyMind(Exception):
        pass

    def judge(_: RoleState) -> Decision:
        raise ChangedMyMind

    with contextlib.suppress(ChangedMyMind):
        question = RoleQuestion(book(storm.workspace, number % 3), "cover", 0, None)
        await postgres_ledger(storm.database).refs.change(question, judge)


async def dawdle(storm: Storm, dice: random.Random) -> None:
    """A transaction that takes its place and its time; then it commits, rolls back, or its connection breaks."""
    end, owner = dice.choice(["COMMIT", "COMMIT", "ROLLBACK", "break"]), book(storm.workspace, 1000)
    async with session(storm.settings["DATABASE_URL"]) as slow:
        await slow.execute("BEGIN")
        place = await slow.fetchrow(_PLACE)
        assert place is not None
        cursor = Cursor(1, place["txid"], 0)
        event = RefEvent(EventType.REF_REJECTED, DecisionKind.REJECT, place["now"], ACTOR, owner, 0, "cover")
        workspace_id = await storm.database.require_workspace_id(storm.workspace)
        values = ", ".join(f"${n}" for n in range(1, 13))
        await slow.execute(f"{INSERT_EVENT} VALUES ({values})", *event_columns(cursor, event, workspace_id))
        await asyncio.sleep(dice.random() * 0.15)
        if end == "break":
            slow.terminate()
            return
        await slow.execute(end)
    if end == "COMMIT":
        storm.written.add(str(cursor))


# --- readers ----------------------------------------------------------------------------------------------------------


async def poll(storm: Storm, reader: Reader) -> None:
    """Long polls, to the last event."""
    dice, after = random.Random(storm.dice.random()), str(Cursor(0, 0, 0))
    async with storm.client() as client:
        while storm.last is None or (reader.ids or [""])[-1] != storm.last:
            query = {"after": after, "wait": "2", "limit": str(dice.randrange(1, 40))}
            try:
                response = await client.get("/events", params=query)
            except httpx.TransportError:
                await come_again(reader)
                continue
            if response.status_code == 503:
                await come_again(reader)
                continue
            page = response.raise_for_status().json()
            for event in page["events"]:
                reader.read(event)
            after = page["next"]


async def stream(storm: Storm, reader: Reader) -> None:
    """Server-sent events, to the last one; connected anew wherever the stream ends, and now and then on purpose."""
    dice, last_id = random.Random(storm.dice.random()), ""
    async with storm.client() as client:
        while storm.last is None or (reader.ids or [""])[-1] != storm.last:
            headers = {"accept": "text/event-stream", **({"last-event-id": last_id} if last_id else {})}
            try:
                async with client.stream("GET", "/events", headers=headers) as response:
                    if response.status_code == 503:
                        await come_again(reader)
                        continue
                    response.raise_for_status()
                    async for block in blocks(response):
                        last_id = block.get("id", last_id)
                        if "data" in block:
                            reader.read(json.loads(block["data"]))
                        if (reader.ids and reader.ids[-1] == storm.last) or dice.random() < 0.003:
                            break
            except httpx.TransportError:
                pass
            await come_again(reader)


async def blocks(response: httpx.Response) -> AsyncIterator[dict[str, str]]:
    block: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            block[name] = value.strip()
        elif block:
            yield block
            block = {}


async def come_again(reader: Reader) -> None:
    reader.interruptions += 1
    await asyncio.sleep(0.05)


# --- the service ------------------------------------------------------------------------------------------------------


_started: list[Refkeep] = []


def start(yard: Yard, settings: dict[str, Any]) -> Refkeep:
    """A service that is ready; one whose address is still taken by the workers of a killed one comes again."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        service = replace(yard.launch("serve", **settings), port=settings["PORT"])
        _started.append(service)
        while service.process.poll() is None:
            if is_ready(service):
                return service
            time.sleep(0.05)
            assert time.monotonic() < deadline, "the service did not become ready"


def restart(storm: Storm, service: Refkeep, how: signal.Signals) -> Refkeep:
    service.process.send_signal(how)
    service.process.wait(PATIENCE_S)
    return start(storm.yard, storm.settings)


@pytest.fixture
def yard(postgres: PostgresServer, tmp_path: Path) -> Yard:
    """Where services are started."""
    return Yard(tmp_path, postgres)


@pytest.mark.timeout(4 * SECONDS + 160)
def test_no_reader_misses_or_repeats_an_event_whatever_breaks(
    yard: Yard, postgres: PostgresServer, migrated: str, tmp_path: Path
) -> None:
    [port] = free_ports(1)
    with postgres.database(migrated) as url:
        settings = {"DATABASE_URL": url, "PORT": port, "data_dir": tmp_path / "data"}
        try:
            service = start(yard, settings)
            workspace = service.workspace()
            storm = Storm(yard, settings, workspace, service.key(workspace, "read"), random.Random(SEED))
            asyncio.run(blow(storm, service))
        finally:
            for launched in _started:
                if launched.process.poll() is None:
                    launched.process.kill()
                    launched.process.wait()


async def blow(storm: Storm, service: Refkeep) -> None:
    """Everyone at once, until everyone has read everything."""
    async with opened_database(storm.settings["DATABASE_URL"], WRITERS) as database:
        storm.database = database
        await weather(storm, service)


async def weather(storm: Storm, service: Refkeep) -> None:
    database, workspace = storm.database, storm.workspace
    readers = [Reader(f"poller {number}") for number in range(POLLERS)]
    readers += [Reader(f"stream {number}") for number in range(STREAMS)]
    ledger = postgres_ledger(database)
    hashes = [await ledger.hold(workspace) for _ in range(WRITERS)]

    reading = asyncio.gather(
        *(poll(storm, reader) for reader in readers[:POLLERS]),
        *(stream(storm, reader) for reader in readers[POLLERS:]),
    )
    writing = asyncio.gather(*(write(storm, number, hashes) for number in range(WRITERS)))
    for number in range(RESTARTS):
        await asyncio.sleep(SECONDS / (RESTARTS + 1))
        how = signal.SIGKILL if number % 2 else signal.SIGTERM
        service = await asyncio.to_thread(restart, storm, service, how)
    await asyncio.sleep(SECONDS / (RESTARTS + 1))
    storm.is_over = True
    await writing
    last = await ledger.change(attach(book(workspace, 9), "cover", hashes[0], 0, ref_id=uuid7()))
    storm.last = getattr(last, "event_id", None)
    async with asyncio.timeout(PATIENCE_S):
        await reading
    await asyncio.to_thread(service.stop)

    workspace_id = await database.require_workspace_id(workspace)
    told = [str(Cursor(*row)) for row in await database.fetch(_ALL, workspace_id)]
    assert storm.written <= set(told)
    for reader in readers:
        assert reader.ids == told, f"{reader.name}: {difference(reader.ids, told)}"
        for subject, versions in reader.versions.items():
            assert versions == list(range(1, len(versions) + 1)), (reader.name, subject)
    assert sum(reader.interruptions for reader in readers) >= RESTARTS
    assert await ledger_flaws(database) == []


def difference(read: list[str], told: list[str]) -> str:
    """What went wrong, in short."""
    return f"{len(set(told) - set(read))} missed, {len(read) - len(set(read))} repeated, of {len(told)}"
