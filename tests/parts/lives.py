"""Processes of the service within one: each has a life of its own, which can end or wait at a named point.

What a killed process leaves is the same here: its open transaction is rolled back, nothing that it would have done
after that happens, its clean-up included, and whoever comes next knows nothing of what it knew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, cast

import asyncpg

from service import composition
from service.adapters.postgres.database import Connection, Database
from service.adapters.postgres.descriptors import PostgresDescriptors
from service.adapters.vips.renderer import ENGINE
from service.application.collect import Collect
from service.application.make_rendition import MakeRendition
from service.domain.rendition import Preset
from service.router.use_cases import UseCases
from service.settings import Settings
from tests.parts.collecting import PlainProber
from tests.parts.faulty_store import FaultyStore
from tests.parts.ledgers import POLICIES
from tests.parts.rendering import WordRenderer

DEFINED, UNDEFINED = Preset("defined", 2, 2), Preset("undefined", 3, 3)
"""A preset of the policies of a life, and one that they no longer have."""

AFTER_RESERVE, BEFORE_PUT, AFTER_PUT = "after reserve", "before put", "after put"
AFTER_LOCKS, AFTER_LOAD, BEFORE_COMMIT, AFTER_COMMIT = "after locks", "after load", "before commit", "after commit"
AFTER_CONDEMN, AFTER_CLAIM = "after condemn", "after claim"
BEFORE_DELETE, AFTER_DELETE = "before delete", "after delete"


class Crashed(BaseException):
    """The process is gone. No code of the service can answer to this."""


@dataclass
class Points:
    """The points that a life passes. At number `nth` of those named `at` it ends, or waits until it may go on."""

    at: str = ""
    nth: int = 1
    ends: bool = True
    is_dead: bool = False
    waits: asyncio.Event = field(default_factory=asyncio.Event)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def require_life(self) -> None:
        """Raises `Crashed` in a process that is dead."""
        if self.is_dead:
            raise Crashed

    async def reach(self, name: str) -> None:
        """Pass a point."""
        self.require_life()
        if name != self.at:
            return
        self.nth -= 1
        if self.nth != 0:
            return
        if self.ends:
            self.is_dead = True
            raise Crashed
        self.waits.set()
        await self.may_go_on.wait()


class _Line:
    """A connection on which the points of a process are passed; rolled back at its death, so that it can be reused."""

    def __init__(self, connection: Connection, points: Points) -> None:
        self._connection, self._points = connection, points
        self._condemns = False

    async def execute(self, query: str, *parameters: object, timeout: float | None = None) -> str:  # noqa: ASYNC109
        return str(await self._pass(query, lambda: self._connection.execute(query, *parameters, timeout=timeout)))

    async def executemany(self, query: str, rows: Any) -> Any:
        return await self._pass(query, lambda: self._connection.executemany(query, rows))

    async def fetch(self, query: str, *parameters: object) -> Any:
        return await self._pass(query, lambda: self._connection.fetch(query, *parameters))

    async def fetchrow(self, query: str, *parameters: object) -> Any:
        return await self._pass(query, lambda: self._connection.fetchrow(query, *parameters))

    async def fetchval(self, query: str, *parameters: object) -> Any:
        return await self._pass(query, lambda: self._connection.fetchval(query, *parameters))

    def is_closed(self) -> bool:
        return self._points.is_dead or self._connection.is_closed()

    def terminate(self) -> None:
        self._connection.terminate()

    async def _pass(self, query: str, statement: Callable[[], Awaitable[Any]]) -> Any:
        try:
            self._points.require_life()
            if query == "COMMIT":
                await self._points.reach(BEFORE_COMMIT)
            result = await statement()
            await self._reached(query)
        except Crashed:
            if self._connection.is_in_transaction():
                await self._connection.execute("ROLLBACK")
            raise
        return result

    async def _reached(self, query: str) -> None:
        self._condemns = self._condemns or "SET state = 'condemned'" in query
        if query.startswith("BEGIN"):
            await self._points.reach(AFTER_LOCKS)
        if query == "COMMIT":
            await self._points.reach(AFTER_COMMIT)
        if "INSERT INTO objects" in query:
            await self._points.reach(AFTER_RESERVE)
        if "pg_current_xact_id()" in query and self._connection.is_in_transaction():
            await self._points.reach(AFTER_LOAD)
        if self._condemns and not self._connection.is_in_transaction():
            self._condemns = False
            await self._points.reach(AFTER_CONDEMN)


class _LivingDatabase(Database):
    """A database whose connections belong to a life."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], points: Points) -> None:
        super().__init__(pool, _prepared)
        self._points = points

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        self._points.require_life()
        async with super().connection() as connection:
            yield cast("Connection", _Line(connection, self._points))


async def _prepared(_: Connection) -> None:
    """The schema is right: it was looked at when the pool was opened."""


class _LivingStore:
    """A store that a life calls."""

    def __init__(self, faulty: FaultyStore, points: Points) -> None:
        self._faulty, self._points = faulty, points
        self.backend = faulty.backend

    async def stage(self) -> Any:
        self._points.require_life()
        return _LivingStaged(await self._faulty.stage(), self._points)

    async def delete(self, key: str) -> None:
        await self._points.reach(BEFORE_DELETE)
        await self._faulty.delete(key)
        await self._points.reach(AFTER_DELETE)

    def __getattr__(self, name: str) -> Any:
        self._points.require_life()
        return getattr(self._faulty, name)


class _LivingStaged:
    def __init__(self, staged: Any, points: Points) -> None:
        self._staged, self._points = staged, points
        self.write, self.flush = staged.write, staged.flush

    @property
    def path(self) -> Path:
        return cast("Path", self._staged.path)

    async def commit(self, key: str) -> None:
        await self._points.reach(BEFORE_PUT)
        await self._staged.commit(key)
        await self._points.reach(AFTER_PUT)

    async def cancel(self) -> None:
        await self._staged.cancel()  # a file on this machine's disk, which no claim is made about
        self._points.require_life()


@dataclass
class Life:
    """A process: the use cases as the root composes them, and a collector."""

    use: UseCases
    collect: Collect
    points: Points
    make: MakeRendition
    descriptors: PostgresDescriptors


def begin_life(pool: asyncpg.Pool[asyncpg.Record], store: FaultyStore, points: Points | None = None) -> Life:
    """A new process on this Postgres and this store."""
    passed = points or Points()
    database, settings = _LivingDatabase(pool, passed), Settings()
    living: Any = _LivingStore(store, passed)
    nobody = cast("Any", None)
    renderer, policies = WordRenderer(ENGINE), replace(POLICIES, presets=(DEFINED,))
    parts = composition.Parts(database, living, living, PlainProber(), renderer, nobody, nobody, nobody)
    use = composition.create_use_cases(settings, policies, cast("Any", None), parts)
    collect = composition.create_collect(settings, policies, database, living)
    make = replace(composition.create_make_rendition(settings, parts), clock=_hasty_clock(), sleep=_no_sleep)
    return Life(use, collect, passed, make, PostgresDescriptors(database))


def _hasty_clock() -> Callable[[], float]:
    """Whoever waits for another's making gives up after two looks."""
    return map(float, count(0, 20)).__next__


async def _no_sleep(_: float) -> None:
    await asyncio.sleep(0)
