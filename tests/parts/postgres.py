"""A real Postgres for the tests, with databases of their own that are copied from one that is migrated already."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from service.adapters.postgres.embedded import embedded_postgres
from service.adapters.postgres.migration import migrate


@dataclass(frozen=True)
class PostgresServer:
    """Where the server answers, and the prefix of this run's databases; `is_ours` when it is gone after the run."""

    dsn: str
    prefix: str
    is_ours: bool

    @contextlib.contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """The DSN of a new database. On a server that stays it is dropped afterwards, whoever is still connected."""
        name = f"{self.prefix}_{next(_numbers)}"
        asyncio.run(_execute(self.dsn, f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
        try:
            yield self._dsn_of(name)
        finally:
            if not self.is_ours:
                asyncio.run(_execute(self.dsn, f'DROP DATABASE "{name}" WITH (FORCE)'))

    @contextlib.contextmanager
    def migrated_template(self) -> Iterator[str]:
        """The name of a database with the schema, to copy others from."""
        with self.database() as dsn:
            asyncio.run(migrate({"dsn": dsn}))
            yield urlsplit(dsn).path.removeprefix("/")

    def _dsn_of(self, name: str) -> str:
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{name}"))


_numbers = count(1)
_PATIENCE_S = 10


@contextlib.contextmanager
def running_postgres(folder: Path) -> Iterator[PostgresServer]:
    """The server of TEST_DATABASE_URL, or PostgreSQL 18 with its data in `folder`."""
    prefix = f"refkeep_test_{os.getpid()}_{secrets.token_hex(3)}"
    given = os.environ.get("TEST_DATABASE_URL")
    with contextlib.nullcontext(given) if given else embedded_postgres(folder) as dsn:
        if not given:
            asyncio.run(_forget_the_disk(dsn))
        yield PostgresServer(dsn, prefix, is_ours=not given)


@contextlib.asynccontextmanager
async def session(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of the test's own, beside every pool; what it left open is rolled back."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


async def lock_waiters(connection: asyncpg.Connection[asyncpg.Record], count: int = 1) -> None:
    """Return once so many others wait for a lock in this database."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(_PATIENCE_S):
        while await connection.fetchval(query) < count:
            await connection.execute("SELECT pg_stat_clear_snapshot()")


async def _forget_the_disk(dsn: str) -> None:
    """Its data need not outlive the run, so it need not wait for the disk; commits still wait for the log."""
    for statement in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"):
        await _execute(dsn, statement)


async def _execute(dsn: str, statement: str) -> None:
    async with session(dsn) as connection:
        await connection.execute(statement)
