"""The service's own schema, in a Postgres of its own or in one that it shares."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

_SHARED = Path(__file__).with_name("schema.sql")
_MIGRATING = 0x1B0A8D


@asynccontextmanager
async def opened_database(url: str, schema: str, tables: Path) -> AsyncIterator[Pool]:
    """A pool whose connections see `schema` alone, once it has the tables; a statement takes five seconds at most."""
    settings = {"search_path": schema, "application_name": schema}
    async with asyncpg.create_pool(url, min_size=1, max_size=8, command_timeout=5, server_settings=settings) as pool:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATING)
            await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
            for file in (_SHARED, tables):
                await connection.execute(file.read_text())
        yield pool
