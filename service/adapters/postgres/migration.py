"""Numbered SQL files, applied once each, in order, by whoever holds the migration lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Any

import asyncpg

from service.adapters.postgres.database import SESSION, Connection
from service.adapters.postgres.errors import translated
from service.adapters.postgres.locks import lock_of

_LOCK = lock_of("migration")
_SESSION = {name: SESSION[name] for name in ("application_name", "timezone", "search_path")}
_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `0001_ledger.sql` is version 1."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> bytes:
        """The SHA-256 of its text: an applied file never changes."""
        return sha256(self.sql.encode()).digest()


class SchemaError(Exception):
    """The schema and the files disagree in a way that only a person can settle."""


def known_migrations() -> list[Migration]:
    """All files of this release, in order."""
    folder = files("service.adapters.postgres").joinpath("migrations")
    texts = sorted((entry.name, entry.read_text("utf-8")) for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [Migration(int(name.partition("_")[0]), name, text) for name, text in texts]


async def migrate(connect: Mapping[str, Any]) -> list[str]:
    """Apply what is missing, all in one transaction under the lock; returns the names of the files applied.

    Raises `SchemaError` when an applied file has changed or the schema is newer than this release.
    """
    async with translated(connect.get("dsn")):
        connection = await asyncpg.connect(**connect, timeout=10, server_settings=_SESSION)
        try:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
                await connection.execute(_TABLE)
                missing = _missing(await connection.fetch("SELECT version, name, checksum FROM schema_migrations"))
                for migration in missing:
                    await _apply(connection, migration)
            return [migration.name for migration in missing]
        finally:
            await connection.close(timeout=5)


async def pending_migrations(connection: Connection) -> list[str]:
    """Names of files that this schema lacks; raises `SchemaError` as `migrate` does."""
    exists = await connection.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL")
    rows = await connection.fetch("SELECT version, name, checksum FROM schema_migrations") if exists else []
    return [migration.name for migration in _missing(rows)]


async def _apply(connection: asyncpg.Connection[Any], migration: Migration) -> None:
    await connection.execute(migration.sql)
    await connection.execute(
        "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
        migration.version,
        migration.name,
        migration.checksum,
    )


def _missing(applied: list[asyncpg.Record]) -> list[Migration]:
    known = {migration.version: migration for migration in known_migrations()}
    for row in applied:
        migration = known.pop(row["version"], None)
        if migration is None:
            raise SchemaError(f"The schema has {row['name']}, which this release does not know: run a newer release.")
        if migration.checksum != row["checksum"]:
            raise SchemaError(f"{row['name']} has changed since it was applied.")
    return sorted(known.values(), key=lambda migration: migration.version)
