"""What must hold before anything is read or written: this release's schema, and a log that goes on after its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.adapters.postgres.database import PATIENCE, Connection, Database
from service.adapters.postgres.migration import SchemaError, pending_migrations
from service.domain.errors import Unavailable

# A database that was dumped and restored counts its transactions anew, or goes on from others that it has not: events
# from there on belong to a new epoch.
_TOLD = """
WITH told AS (
    (SELECT epoch, txid FROM events ORDER BY epoch DESC, txid DESC LIMIT 1)
    UNION ALL SELECT epoch, txid FROM checkpoint -- what was dropped was told as well
    ORDER BY epoch DESC, txid DESC LIMIT 1)"""

# Asked first, so that a database that only reads, such as a standby, can be read. What is visible here has been
# committed here, below the snapshot's end, unless it came with a dump.
_IS_DUE = f"""{_TOLD}
SELECT (SELECT home FROM epochs ORDER BY epoch DESC LIMIT 1) <> refkeep_home()
    OR coalesce((SELECT txid FROM told) >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
        AND (SELECT epoch FROM told) = (SELECT max(epoch) FROM epochs), false)"""

# Sent as one message, which is one transaction.
_OPEN_EPOCH = f"""
SELECT pg_advisory_xact_lock(hashtextextended('refkeep epoch', 0));
{_TOLD}
INSERT INTO epochs (epoch) SELECT max(epoch) + 1 FROM epochs
HAVING (SELECT home FROM epochs ORDER BY epoch DESC LIMIT 1) <> refkeep_home()
    OR (SELECT txid FROM told) >= pg_current_xact_id()::text::bigint AND (SELECT epoch FROM told) = max(epochs.epoch)"""


async def open_database(connect: Mapping[str, Any], pool_size: int, patience: float = PATIENCE) -> Database:
    """A database that serves nothing until its schema is this release's; nobody waits longer for a connection."""
    return await Database.open(connect, pool_size, prepare, patience)


async def prepare(connection: Connection) -> None:
    """Check the schema and open the epoch. Raises `Unavailable` with what to do about it."""
    await _check_schema(connection)
    if await connection.fetchval(_IS_DUE):
        await connection.execute(_OPEN_EPOCH)


async def _check_schema(connection: Connection) -> None:
    try:
        pending = await pending_migrations(connection)
    except SchemaError as error:
        raise Unavailable(str(error)) from error
    if pending:
        raise Unavailable(f"The schema lacks {', '.join(pending)}: run `refkeep migrate`, or start with --migrate.")
