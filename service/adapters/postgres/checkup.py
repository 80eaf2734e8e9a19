"""A look at a database from outside any pool: what it is, how it is set, who is in the way. It changes nothing."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from service.adapters.postgres.database import SESSION, Connection, Database
from service.adapters.postgres.migration import SchemaError, pending_migrations
from service.adapters.postgres.tls import tls_fault

OLDEST = 150_000
"""The oldest `server_version_num` that statements are written for."""
_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 5.0
_SESSION = SESSION | {"application_name": "refkeep doctor"}

_FACTS = """
SELECT current_setting('server_version_num')::int AS version,
    pg_encoding_to_char(d.encoding) AS encoding,
    pg_is_in_recovery() AS is_standby, current_setting('transaction_read_only')::bool AS read_only,
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0) AS places,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()) AS taken,
    r.rolconnlimit AS role_limit, d.datconnlimit AS database_limit,
    ARRAY(SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
        AND setting = 'off' ORDER BY name) AS risks,
    ARRAY(SELECT name FROM pg_settings WHERE name = ANY($1) AND source <> 'client' ORDER BY name) AS lost,
    (SELECT count(*) FROM pg_prepared_xacts WHERE prepared < clock_timestamp() - interval '1 minute') AS prepared
FROM pg_database d, pg_roles r WHERE d.datname = current_database() AND r.rolname = current_user
"""
_HOLDERS = """
SELECT pid, coalesce(application_name, '') AS application, coalesce(state, 'hidden') AS state,
    extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_xid IS NOT NULL AND xact_start IS NOT NULL
ORDER BY xact_start LIMIT 5
"""
_CLOCK = "SELECT clock_timestamp() AS time"
_OWN_CLOCK = "SELECT refkeep_now() AS time"


class Unreachable(Exception):
    """Nobody can be asked; `reason` is a word of `reason_of`, the text a sentence without a secret."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Holder:
    """A transaction that writes, and how long it has been open."""

    pid: int
    application: str
    state: str
    seconds: float


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What was found. `version` is `server_version_num`, `ahead` how many seconds its clock is ahead of this machine's.

    `pending` are files that the schema lacks, `schema_fault` a sentence where it cannot be told. `places` are
    connections that an ordinary role may have, `taken` those in use. `risks` are settings that give up durability,
    `lost` those of the session that somebody in between did not pass on.
    """

    version: int
    encoding: str
    is_standby: bool
    read_only: bool
    places: int
    taken: int
    risks: tuple[str, ...]
    lost: tuple[str, ...]
    prepared: int
    holders: tuple[Holder, ...]
    ahead: float
    pending: tuple[str, ...] = ()
    schema_fault: str | None = None


async def look_into(dsn: str) -> DatabaseFacts:
    """Ask everything, within seconds. Raises `Unreachable`."""
    connection = await _connected(dsn)
    try:
        row = await connection.fetchrow(_FACTS, list(_SESSION))
        if row is None:
            raise Unreachable("hidden", "The database does not show its own settings to this role.")
        pending, schema_fault = await _schema(connection)
        holders = tuple(Holder(**dict(each)) for each in await connection.fetch(_HOLDERS))
        ahead = await _ahead(connection)
        return DatabaseFacts(
            row["version"],
            row["encoding"],
            row["is_standby"],
            row["read_only"],
            min(limit for limit in (row["places"], row["role_limit"], row["database_limit"]) if limit >= 0),
            row["taken"],
            tuple(row["risks"]),
            tuple(row["lost"]),
            row["prepared"],
            holders,
            ahead,
            pending,
            schema_fault,
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Unreachable("other", f"The database broke off: {type(error).__name__}.") from error
    finally:
        connection.terminate()


async def opened_as_it_is(dsn: str) -> Database:
    """A database of two connections that takes any schema, and opens no epoch."""
    return await Database.open({"dsn": dsn}, 2, _as_it_is)


def reason_of(error: BaseException) -> tuple[str, str]:
    """Why nobody answers: a word, and a sentence."""
    for kinds, reason, sentence in _REASONS:
        if isinstance(error, kinds):
            return reason, sentence
    return "other", f"The database refuses the connection: {type(error).__name__}."


_Kinds = type[BaseException] | tuple[type[BaseException], ...]
_REASONS: tuple[tuple[_Kinds, str, str], ...] = (
    (asyncpg.InvalidCatalogNameError, "no-database", "There is no database of that name."),
    (asyncpg.InvalidPasswordError, "password", "User or password are refused."),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "rules",
        "The server's rules let this user in from nowhere here, or not without TLS, or not with it.",
    ),
    (asyncpg.TooManyConnectionsError, "full", "The database takes no more connections."),
    (asyncpg.CannotConnectNowError, "starting", "The database is starting, stopping or recovering."),
    (asyncpg.ObjectNotInPrerequisiteStateError, "closed", "This database takes no connections."),
    (asyncpg.ClientConfigurationError, "url", "The address cannot be used as it is written."),
    (socket.gaierror, "host", "The name of the database's host is not known."),
    ((ConnectionRefusedError, FileNotFoundError), "refused", "Nobody listens at the database's address."),
    (TimeoutError, "silent", f"The database says nothing within {_CONNECT_SECONDS:.0f} s."),
    (PermissionError, "forbidden", "This user may not reach the database's socket."),
    (OSError, "network", "The database cannot be reached over the network."),
)


async def _connected(dsn: str) -> asyncpg.Connection[asyncpg.Record]:
    try:
        return await asyncpg.connect(
            dsn, timeout=_CONNECT_SECONDS, command_timeout=_ANSWER_SECONDS, server_settings=_SESSION
        )
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        fault = tls_fault(error, dsn)
        raise Unreachable(*(reason_of(error) if fault is None else ("tls", fault))) from error


async def _schema(connection: Any) -> tuple[tuple[str, ...], str | None]:
    try:
        return tuple(await pending_migrations(connection)), None
    except SchemaError as error:
        return (), str(error)
    except asyncpg.InsufficientPrivilegeError:
        return (), "This role may not read the schema."


async def _ahead(connection: asyncpg.Connection[asyncpg.Record]) -> float:
    """By the clock that everything goes by, where the schema is there; half of the way is not its fault."""
    has_own: bool = await connection.fetchval("SELECT to_regprocedure('refkeep_now()') IS NOT NULL")
    before = datetime.now(UTC)
    told: datetime = await connection.fetchval(_OWN_CLOCK if has_own else _CLOCK)
    return (told - (before + (datetime.now(UTC) - before) / 2)).total_seconds()


async def _as_it_is(_: Connection) -> None:
    """Nothing must hold."""
