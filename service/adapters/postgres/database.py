"""One pool of connections, one way to run a statement, one place that turns a driver's errors into ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from service.domain.errors import BadRequest, Unavailable
from service.observability import outlets

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
Row: TypeAlias = asyncpg.Record
if TYPE_CHECKING:
    _DriverConnection = asyncpg.Connection[asyncpg.Record]  # generic for the type checker alone
else:
    _DriverConnection = asyncpg.Connection

ACQUIRE_SECONDS = 2.0
SESSION = {
    "application_name": "refkeep",
    "lock_timeout": "5s",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "30s",
    "timezone": "UTC",
    "search_path": "public",
}
_DOWN = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,
)
_OLD_SCHEMA = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError)
_BUSY = (
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionRollbackError,
)
_NO_TEXT = (UnicodeEncodeError, asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)
"""NUL, and halves of characters: refused by Postgres, or by whoever encodes them for it."""


_OPEN_EPOCH = """
BEGIN;
SELECT pg_advisory_xact_lock(hashtextextended('refkeep epoch', 0));
INSERT INTO epochs (epoch) SELECT max(epoch) + 1 FROM epochs
HAVING (SELECT txid FROM events ORDER BY epoch DESC, txid DESC LIMIT 1) >= pg_current_xact_id()::text::bigint
    AND (SELECT epoch FROM events ORDER BY epoch DESC LIMIT 1) = max(epochs.epoch);
COMMIT"""


class LockTimeout(Unavailable):
    """Somebody else holds a lock for longer than a request may wait."""


class _PooledConnection(_DriverConnection):
    """Every transaction here ends before its connection goes back, so there is nothing to reset."""

    def get_reset_query(self) -> str:
        return ""


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turn what says "not now" into `Unavailable`, and text that Postgres cannot keep into `BadRequest`.

    Constraint violations pass, their names are the repositories' affair.
    """
    try:
        yield
    except asyncpg.LockNotAvailableError as error:
        raise LockTimeout("Something else holds a lock on this for too long.") from error
    except (*_NO_TEXT, asyncpg.DataError) as error:
        if not isinstance(error, _NO_TEXT) and not isinstance(error.__cause__, _NO_TEXT):
            raise
        raise BadRequest("A text holds characters that cannot be kept.") from error
    except _BUSY as error:
        raise Unavailable("The database is too busy for this.") from error
    except (*_DOWN, TimeoutError) as error:
        raise Unavailable("The database does not answer.") from error
    except _OLD_SCHEMA as error:
        raise Unavailable("The database's schema is not this release's; see /readyz.") from error


class Database:
    """A pool on one Postgres. Open it once per process, after any fork."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool
        self._workspace_ids: dict[str, int] = {}
        self._epoch_is_open = False

    @classmethod
    async def open(cls, connect: Mapping[str, Any], pool_size: int) -> Database:
        """A pool with asyncpg's own keyword arguments; it connects when a connection is first asked for."""
        async with translated():
            pool = await asyncpg.create_pool(
                **connect,
                min_size=0,
                max_size=pool_size,
                timeout=ACQUIRE_SECONDS,
                server_settings=SESSION,
                connection_class=_PooledConnection,
            )
        return cls(pool)

    async def aclose(self) -> None:
        """Close every connection, within a few seconds."""
        try:
            await asyncio.wait_for(self._pool.close(), 5)
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of the pool; raises `Unavailable` when none is free in time."""
        asked = perf_counter()
        async with translated(), self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
            outlets().pool_wait.record(perf_counter() - asked)
            if not self._epoch_is_open:
                self._epoch_is_open = await open_epoch(connection)
            yield connection

    async def fetch(self, query: str, *parameters: object) -> list[Row]:
        """All rows of one statement in a transaction of its own."""
        async with self.connection() as connection:
            return await connection.fetch(query, *parameters)

    async def fetchrow(self, query: str, *parameters: object) -> Row | None:
        """The first row of one statement in a transaction of its own."""
        async with self.connection() as connection:
            return await connection.fetchrow(query, *parameters)

    @asynccontextmanager
    async def locked(self, locks: Iterable[int]) -> AsyncIterator[Connection]:
        """A READ COMMITTED transaction that takes these advisory locks, in this order, before anything else.

        Commits at the end, rolls back on any exception, cancellation included. The locks come with BEGIN in one round
        trip.
        """
        begin = "; ".join(["BEGIN", *(f"SELECT pg_advisory_xact_lock({int(lock)})" for lock in locks)])
        async with self.connection() as connection:
            try:
                await connection.execute(begin)
                yield connection
                await connection.execute("COMMIT")
            except BaseException:
                await _rolled_back(connection)
                raise

    async def workspace_id(self, slug: str) -> int | None:
        """The internal id of a workspace; ids never change, so a known one is remembered."""
        known = self._workspace_ids.get(slug)
        if known is None:
            row = await self.fetchrow("SELECT id FROM workspaces WHERE slug = $1", slug)
            if row is None:
                return None
            known = self._workspace_ids[slug] = row["id"]
        return known


async def open_epoch(connection: Connection) -> bool:
    """Start a new epoch if this cluster's transaction ids have not reached the log's.

    A restored log goes on after its end.

    Runs once in every process, before it reads or writes anything; False where there is no schema yet.
    """
    if not await connection.fetchval("SELECT to_regclass('epochs') IS NOT NULL"):
        return False
    await connection.execute(_OPEN_EPOCH)
    return True


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
    except (*_DOWN, TimeoutError):
        with suppress(asyncpg.InterfaceError):  # a connection that was lost is the pool's already
            connection.terminate()


def lock_of(kind: str, *names: str) -> int:
    """The 64-bit advisory lock of a thing; things of different kinds or names practically never share one."""
    digest = blake2b("\0".join((kind, *names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
