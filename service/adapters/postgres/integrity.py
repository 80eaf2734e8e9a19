"""Rows of objects to hold against the store, and the marks of what was found, on Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from service.adapters.postgres.database import Connection, Database, Row
from service.adapters.postgres.holders import tell_holders
from service.adapters.postgres.locks import blob_lock
from service.adapters.postgres.log import PLACE
from service.domain.blob import Sha256
from service.domain.event import BlobEvent
from service.domain.health import Health
from service.domain.health_decision import HealthState, health_copy_for
from service.observability import observed
from service.ports.integrity import HealthJudge, KnownObject, ObjectState

KNOWN = """SELECT o.id, o.key, o.sha256, o.size, o.state, b.health
FROM objects o LEFT JOIN blobs b ON b.object_id = o.id"""
_PAGE = f"{KNOWN} WHERE o.key > $1 ORDER BY o.key LIMIT $2"
_LOOK = f"{KNOWN} WHERE o.key = ANY ($1)"
_LOAD = f"""SELECT refkeep_now() AS now, {PLACE}, b.id AS blob_id, b.health
FROM objects o JOIN blobs b ON b.object_id = o.id WHERE o.id = $1"""
_MARK = """UPDATE blobs SET health = $2, health_since = CASE WHEN $2 = 'ok' THEN NULL ELSE $3::timestamptz END
WHERE id = $1"""
_CONDEMN = """UPDATE objects o SET state = 'condemned', delete_after = refkeep_now() + $2::interval
WHERE id = $1 AND state = 'live' AND NOT EXISTS (SELECT FROM blobs WHERE object_id = o.id) RETURNING 1"""


@dataclass(frozen=True, slots=True)
class PostgresIntegrity:
    """`Integrity` on Postgres."""

    database: Database

    @observed("integrity.known", layer="repo", span_name="SELECT objects")
    async def known(self, after: str, limit: int) -> Sequence[KnownObject]:
        """See the port."""
        return [to_known(row) for row in await self.database.fetch(_PAGE, after, limit)]

    @observed("integrity.look", layer="repo", span_name="SELECT objects")
    async def look(self, keys: Sequence[str]) -> Mapping[str, KnownObject]:
        """See the port."""
        return {row["key"]: to_known(row) for row in await self.database.fetch(_LOOK, list(keys))}

    @observed("integrity.mark", layer="repo", span_name="WRITE blobs")
    async def mark(self, found: KnownObject, judge: HealthJudge) -> bool:
        """See the port. While a blob shows an object, the foreign key keeps the object live."""
        async with self.database.locked([blob_lock(found.sha256)]) as connection:
            load = await connection.fetchrow(_LOAD, found.object_id)
            if load is None:
                return False
            event = judge(HealthState(load["now"], found.sha256, Health(load["health"])))
            if event is not None:
                await record_health(connection, load, event)
            return True

    @observed("integrity.condemn", layer="repo", span_name="UPDATE objects")
    async def condemn_unused(self, found: KnownObject, quarantine: timedelta) -> bool:
        """See the port."""
        async with self.database.locked([blob_lock(found.sha256)]) as connection:
            return await connection.fetchval(_CONDEMN, found.object_id, quarantine) is not None

    @observed("integrity.marked", layer="repo", span_name="SELECT blobs")
    async def marked(self) -> Mapping[Health, int]:
        """See the port."""
        rows = await self.database.fetch("SELECT health, count(*) FROM blobs WHERE health <> 'ok' GROUP BY health")
        counted = {Health(row["health"]): int(row["count"]) for row in rows}
        return {health: counted.get(health, 0) for health in (Health.MISSING, Health.CORRUPT)}


async def record_health(connection: Connection, load: Row, event: BlobEvent, first_seq: int = 0) -> None:
    """Mark the blob of a load as the event says, or take its mark away, and tell every holder."""
    await connection.execute(_MARK, load["blob_id"], event.health.value, event.time)
    await tell_holders(connection, load, event, partial(health_copy_for, event), first_seq)


def to_known(row: Row) -> KnownObject:
    """From KNOWN."""
    health = None if row["health"] is None else Health(row["health"])
    sha256 = Sha256(row["sha256"].hex())
    return KnownObject(row["id"], row["key"], sha256, row["size"], ObjectState(row["state"]), health)
