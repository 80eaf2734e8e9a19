"""What every story stands on: one Postgres database and one store, opened once and emptied before each story."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar, cast

import asyncpg
import structlog
import uvloop

from service import composition
from service.adapters.postgres.database import SESSION, Database
from service.adapters.postgres.opening import prepare
from service.application.check_store import Check
from service.application.findings import Report
from service.application.scrub import Budget
from service.settings import Settings
from tests.logging_state import logging_restored
from tests.machine import picture
from tests.machine.picture import Picture
from tests.parts.audit import ledger_flaws
from tests.parts.blobs import get, keys
from tests.parts.faulty_store import FaultyStore
from tests.parts.lives import Life, Points, begin_life

SLUGS = ["story-a", "story-b"]
_PATIENCE_S = 10.0
_LOOKING = {"jit": "off", "synchronous_commit": "off", "plan_cache_mode": "force_generic_plan"}
_LOG = """SELECT epoch, txid, seq, decision, entity_id, data::text FROM events
    WHERE workspace_id = (SELECT id FROM workspaces WHERE slug = $1) ORDER BY epoch, txid, seq"""
_WAITING = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND pg_stat_clear_snapshot() IS NOT NULL"""
T = TypeVar("T")


@dataclass
class Ground:
    """`behind` is a connection beside those of the processes; `stories` counts what was told, by rule."""

    runner: asyncio.Runner
    pool: asyncpg.Pool[asyncpg.Record]
    behind: Any
    inner: Any
    stories: Counter[str] = field(default_factory=Counter)
    store: FaultyStore = field(init=False)

    def __post_init__(self) -> None:
        self.database = Database(self.pool, prepare)

    def run(self, work: Awaitable[T]) -> T:
        """To its end, in the loop of all stories."""

        async def body() -> T:
            return await work

        try:
            return self.runner.run(body())
        except Exception:
            traceback.print_exc()  # Hypothesis keeps to itself why a story failed that goes well when told again
            raise

    async def begin(self) -> None:
        """Nothing is left of the story before."""
        self.store = FaultyStore(self.inner)
        await picture.begin(self.behind, SLUGS)
        for key in await keys(self.inner):
            await self.inner.delete(key)

    def life(self, points: Points | None = None) -> Life:
        """A new process."""
        return begin_life(self.pool, self.store, points)

    async def look(self, milliseconds: int = 1) -> Picture:
        """The database as it is; then some time goes by."""
        return await picture.look(self.behind, SLUGS, milliseconds)

    async def verify(self, key: str, sha256: str) -> None:
        """The store has these bytes, whole (I1)."""
        content = await get(self.inner, key)
        assert hashlib.sha256(content).hexdigest() == sha256, f"{key} holds other bytes"

    async def stored(self) -> set[str]:
        """The keys that the store lists."""
        return set(await keys(self.inner))

    async def repair(self) -> tuple[Report, Report]:
        """What `fsck`, which trusts no byte for its youth, and `scrub` have found and done."""
        async with composition.create_repair(Settings(), self.database, cast("Any", self.store)) as repair:
            checked = await repair.check(Check(timedelta(), recount=True), lambda _: None)
            return checked, await repair.scrub(Budget(), lambda _: None)

    async def flaws(self) -> list[str]:
        """What is wrong in the tables and their log."""
        return await ledger_flaws(self.database)

    async def log(self, slug: str) -> list[asyncpg.Record]:
        """A workspace's events in their order."""
        rows: list[asyncpg.Record] = await self.behind.fetch(_LOG, slug)
        return rows

    async def done_or_waiting(self, task: asyncio.Task[Any]) -> None:
        """Return once the task has ended or waits for somebody's lock."""
        async with asyncio.timeout(_PATIENCE_S):
            while not (await asyncio.wait({task}, timeout=0.001))[0]:
                if await self.behind.fetchval(_WAITING):
                    return


@contextmanager
def opened_ground(dsn: str, opened_store: Callable[[], AbstractAsyncContextManager[Any]]) -> Iterator[Ground]:
    """The ground of a database of its own, migrated and otherwise empty, and of a store."""
    with logging_restored(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        pool = runner.run(_open_pool(dsn))
        behind = runner.run(_connect(dsn))
        store = opened_store()
        try:
            inner = runner.run(_enter(store))
            ground = Ground(runner, pool, behind, inner)
            runner.run(picture.set_up(behind))
            yield ground
        finally:
            runner.run(store.__aexit__(None, None, None))
            runner.run(behind.close())
            runner.run(pool.close())


async def _open_pool(dsn: str) -> asyncpg.Pool[asyncpg.Record]:
    from service.adapters.postgres.database import _PooledConnection  # noqa: PLC0415

    pool = await asyncpg.create_pool(
        dsn, min_size=0, max_size=16, server_settings=SESSION, connection_class=_PooledConnection
    )
    assert pool is not None
    return pool


async def _connect(dsn: str) -> Any:
    return await asyncpg.connect(dsn, server_settings=_LOOKING)


async def _enter(store: AbstractAsyncContextManager[Any]) -> Any:
    return await store.__aenter__()
