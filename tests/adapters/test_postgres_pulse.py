"""The pulse tells silence from everything that only takes long or is refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.adapters.postgres.opening import open_database
from service.adapters.postgres.pulse import listening
from service.domain.errors import Unavailable
from tests.parts.ledgers import opened_database
from tests.parts.outages import Outage, frozen
from tests.parts.postgres import PostgresServer, session

pytestmark = pytest.mark.anyio
LONGER_THAN_PATIENCE_S = 2.5
KNOWN_WITHIN_S = 2.0
MINE = "SELECT pg_advisory_xact_lock(4711)"


@dataclass
class Listener:
    """Keeps what it is told."""

    told: list[str] = field(default_factory=list)

    async def fall_silent(self) -> None:
        self.told.append("silent")

    def be_heard(self) -> None:
        self.told.append("heard")


@pytest.fixture
def outage(tmp_path: Path) -> Iterator[Outage]:
    with frozen(tmp_path) as outage:
        yield outage


async def test_whoever_waits_for_a_lock_is_left_in_peace(database_url: str) -> None:
    connect = {"dsn": database_url}
    async with (
        opened_database(database_url, 1) as database,
        listening(connect, database),
        session(database_url) as other,
    ):
        await other.execute("BEGIN")
        await other.execute(MINE)
        waiting = asyncio.create_task(database.fetch(MINE))
        await asyncio.sleep(LONGER_THAN_PATIENCE_S)
        assert not waiting.done()
        await other.execute("ROLLBACK")
        assert len(await waiting) == 1


async def test_a_database_that_refuses_is_not_silent(fresh_url: str, postgres: PostgresServer) -> None:
    name, listener = urlsplit(fresh_url).path.removeprefix("/"), Listener()
    async with session(postgres.dsn) as other, listening({"dsn": fresh_url}, listener):
        await other.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        await asyncio.sleep(LONGER_THAN_PATIENCE_S)
        await other.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert listener.told == []


async def test_a_process_that_stood_still_itself_does_not_blame_the_database(database_url: str) -> None:
    listener = Listener()
    async with listening({"dsn": database_url}, listener):
        await asyncio.sleep(0.5)
        for _ in range(3):
            time.sleep(1)  # noqa: ASYNC251 - nothing else runs in this loop meanwhile, the pulse neither
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
    assert listener.told == []


async def test_silence_ends_what_waits_refuses_what_comes_and_passes(outage: Outage) -> None:
    database = await open_database({"dsn": outage.url}, 3)
    database._prepare = _prepared
    async with listening({"dsn": outage.url}, database):
        await asyncio.gather(*(database.fetch("SELECT pg_sleep(0.1)") for _ in range(3)))
        outage.begin()
        began = time.monotonic()
        statements = [asyncio.create_task(database.fetch("SELECT 1")) for _ in range(3)]
        for outcome in await asyncio.gather(*statements, return_exceptions=True):
            assert isinstance(outcome, Unavailable)
        assert time.monotonic() - began < KNOWN_WITHIN_S
        with pytest.raises(Unavailable):
            await database.fetch("SELECT 1")
        assert time.monotonic() - began < KNOWN_WITHIN_S
        outage.end()
        ended = time.monotonic()
        for _ in range(100):
            if await _answers(database.fetch("SELECT 1")):
                break
            await asyncio.sleep(0.05)
        assert time.monotonic() - ended < KNOWN_WITHIN_S
        await asyncio.gather(*(database.fetch("SELECT 1") for _ in range(8)))
    await database.aclose()


async def _answers(asking: Awaitable[object]) -> bool:
    try:
        await asking
    except Unavailable:
        return False
    return True


async def _prepared(_: object) -> None:
    """There is no schema to look at."""
