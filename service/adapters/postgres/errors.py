"""The one place that turns a driver's errors into ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from service.adapters.postgres.tls import tls_fault
from service.domain.errors import BadRequest, Unavailable

DOWN = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what a statement meets whose connection broke under it
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # a database that takes no connections
    asyncpg.ReadOnlySQLTransactionError,
)
"""Nobody answers, or whoever does cannot take this."""
_OLD_SCHEMA = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError)
_BUSY = (
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionRollbackError,
)
_NO_TEXT = (UnicodeEncodeError, asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)
"""NUL, and halves of characters: refused by Postgres, or by whoever encodes them for it."""


class LockTimeout(Unavailable):
    """Somebody else holds a lock for longer than a request may wait."""


class StoreInDoubt(Unavailable):
    """Stores have changed since this process last saw that its own is the database's."""


@asynccontextmanager
async def translated(dsn: str | None = None) -> AsyncIterator[None]:
    """Turn what says "not now" into `Unavailable`, and text that Postgres cannot keep into `BadRequest`.

    With the address that was connected to, trouble with its TLS is told as that. Constraint violations pass, their
    names are the repositories' affair.
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
    except asyncpg.ReadOnlySQLTransactionError as error:
        raise Unavailable("The database takes no writes: it is a standby, or set to be read alone.") from error
    except (*DOWN, TimeoutError) as error:
        raise Unavailable(tls_fault(error, dsn) or "The database does not answer.") from error
    except _OLD_SCHEMA as error:
        raise Unavailable("The database's schema is not this release's; see /readyz.") from error
