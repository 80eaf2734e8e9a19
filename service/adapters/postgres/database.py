"""One pool of connections, and one way to run a statement or a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from service.adapters.postgres.errors import DOWN, translated
from service.domain.errors import NotFound, Unavailable
from service.observability import PoolState, outlets

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
Row: TypeAlias = asyncpg.Record
if TYPE_CHECKING:
    _DriverConnection = asyncpg.Connection[asyncpg.Record]  # generic for the type checker alone
else:
    _DriverConnection = asyncpg.Connection

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
OpenPool: TypeAlias = "Callable[[], Awaitable[Pool]]"
Prepare: TypeAlias = "Callable[[Connection], Awaitable[None]]"

REQUEST_PATIENCE = 1.5
"""Seconds that a request waits for a connection: who gets none is told within 2.5 s, on a busy machine, too."""
PATIENCE = 15.0
"""The same for everyone else: a command that fails has to be given again by hand."""
COMMAND_SECONDS = 20.0
"""Longer than a transaction may wait for its three locks; what takes longer than that has nobody at the other end.
Of a server that says nothing at all `pulse` knows earlier."""
SURVEY_SECONDS = 3600.0

SESSION = {
    "application_name": "refkeep",
    "lock_timeout": "5s",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "30s",
    "timezone": "UTC",
    "search_path": "public",
    # One plan for any parameters: all go by an index, and planning anew each time costs more than the statement itself.
    "plan_cache_mode": "force_generic_plan",
    # A page reads the index that has its whole order: one that has a part of it leads past what belongs to others.
    "enable_incremental_sort": "off",
}


class _PooledConnection(_DriverConnection):
    """Every transaction here ends before its connection goes back, so there is nothing to reset."""

    def get_reset_query(self) -> str:
        return ""


class Database:
    """A pool on one Postgres. Open it once per process, after any fork."""

    def __init__(
        self,
        pool: Pool,
        prepare: Prepare,
        open_pool: OpenPool | None = None,
        patience: float = PATIENCE,
        dsn: str | None = None,
    ) -> None:
        self._pool, self._open_pool, self._patience, self._dsn = pool, open_pool, patience, dsn
        self._workspace_ids: dict[str, int] = {}
        self._prepare, self._is_prepared = prepare, False
        self._is_silent = False

    @classmethod
    async def open(
        cls, connect: Mapping[str, Any], pool_size: int, prepare: Prepare, patience: float = PATIENCE
    ) -> Database:
        """A pool with asyncpg's own keyword arguments; it connects when a connection is first asked for.

        `patience` is how many seconds anyone waits for a connection.
        `prepare` runs once before anything else does, and again until it returns.
        """

        async def open_pool() -> Pool:
            return await asyncpg.create_pool(
                **connect,
                min_size=0,
                max_size=pool_size,
                timeout=patience,
                command_timeout=COMMAND_SECONDS,
                server_settings=SESSION,
                connection_class=_PooledConnection,
            )

        async with translated(connect.get("dsn")):
            return cls(await open_pool(), prepare, open_pool, patience, connect.get("dsn"))

    async def fall_silent(self) -> None:
        """Break off whatever waits for the database, and let nothing begin to wait until it is heard again.

        A commit that was on its way may be carried out all the same, as with any answer that is lost.
        """
        self._is_silent = True
        pool = self._pool
        if self._open_pool is not None:
            self._pool = await self._open_pool()
        pool.terminate()

    def be_heard(self) -> None:
        """The database answers again; every connection is a new one."""
        self._is_silent = False

    async def aclose(self) -> None:
        """Close every connection, within a few seconds."""
        try:
            await asyncio.wait_for(self._pool.close(), 5)
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of the pool; raises `Unavailable` when none is free in time, at once while nobody answers."""
        if self._is_silent:
            raise Unavailable("The database does not answer.")
        async with translated(self._dsn), self._acquired() as connection:
            if not self._is_prepared:
                await self._prepare(connection)
                self._is_prepared = True
            yield connection

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Connection]:
        """A connection; the wait is on record, whether or not one came in time."""
        pool, asked = self._pool, perf_counter()
        try:
            connection = await pool.acquire(timeout=self._patience)
        except TimeoutError:
            outlets().pool_timeouts.add(1)
            raise
        finally:
            outlets().pool_wait.record(perf_counter() - asked)
        try:
            yield connection
        finally:
            await pool.release(connection)

    def state(self) -> PoolState:
        """How many connections of the pool somebody has, and how many there are."""
        pool = self._pool
        idle = pool.get_idle_size()
        return PoolState(pool.get_size() - idle, idle, pool.get_max_size())

    async def fetch(self, query: str, *parameters: object) -> list[Row]:
        """All rows of one statement in a transaction of its own."""
        async with self.connection() as connection:
            return await connection.fetch(query, *parameters)

    async def fetchrow(self, query: str, *parameters: object) -> Row | None:
        """The first row of one statement in a transaction of its own."""
        async with self.connection() as connection:
            return await connection.fetchrow(query, *parameters)

    async def survey(self, query: str, *parameters: object) -> list[Row]:
        """The same for a statement that reads whole tables and for which no request waits: it may take its time."""
        async with self.unhurried(()) as connection:
            await connection.execute("SET TRANSACTION READ ONLY")
            return await connection.fetch(query, *parameters, timeout=SURVEY_SECONDS)

    async def check(self) -> None:
        """The part `database` of readiness: raises `Unavailable` when nobody answers or the schema is another's."""
        await self.fetchrow("SELECT 1")

    @asynccontextmanager
    async def locked(self, locks: Iterable[int]) -> AsyncIterator[Connection]:
        """A READ COMMITTED transaction that takes these advisory locks, in this order, before anything else.

        Commits at the end, rolls back on any exception, cancellation included. The locks come with BEGIN in one round
        trip.
        """
        taken = (f"SELECT pg_advisory_xact_lock({int(lock)})" for lock in locks)
        begin = "; ".join(("BEGIN ISOLATION LEVEL READ COMMITTED", *taken))
        async with self.connection() as connection:
            try:
                await connection.execute(begin)
                yield connection
                await connection.execute("COMMIT")
            except BaseException:
                await _rolled_back(connection)
                raise

    @asynccontextmanager
    async def unhurried(self, locks: Iterable[int]) -> AsyncIterator[Connection]:
        """The same for statements that read whole tables, which are given `timeout=SURVEY_SECONDS`."""
        async with self.locked(locks) as connection:
            await connection.execute("SET LOCAL statement_timeout = 0")
            yield connection

    @asynccontextmanager
    async def try_locked(self, lock: int) -> AsyncIterator[Connection | None]:
        """The same with one lock that is not waited for: None where somebody else has it."""
        async with self.locked(()) as connection:
            free = await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", lock)
            yield connection if free else None

    async def require_workspace_id(self, slug: str) -> int:
        """The internal id of a workspace; raises `NotFound`."""
        workspace_id = await self.workspace_id(slug)
        if workspace_id is None:
            raise NotFound(f"There is no workspace {slug}.")
        return workspace_id

    async def workspace_id(self, slug: str) -> int | None:
        """The internal id of a workspace; ids never change, so a known one is remembered."""
        known = self._workspace_ids.get(slug)
        if known is None:
            row = await self.fetchrow("SELECT id FROM workspaces WHERE slug = $1", slug)
            if row is None:
                return None
            known = self._workspace_ids[slug] = row["id"]
        return known


async def _rolled_back(connection: Connection) -> None:
    """Wait for the rollback however often the caller is cancelled meanwhile: a busy connection cannot go back."""
    rolling_back = asyncio.ensure_future(_roll_back(connection))
    cancelled: asyncio.CancelledError | None = None
    while not rolling_back.done():
        try:
            await asyncio.wait({rolling_back})
        except asyncio.CancelledError as error:
            cancelled = error
    rolling_back.result()
    if cancelled is not None:
        raise cancelled


async def _roll_back(connection: Connection) -> None:
    try:
        if not connection.is_closed():
            await connection.execute("ROLLBACK", timeout=5)
    except (*DOWN, TimeoutError):
        with suppress(asyncpg.InterfaceError):  # a connection that was lost is the pool's already
            connection.terminate()
