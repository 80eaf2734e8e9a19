"""The outbox: what Refkeep must let go of, written down with its reason and delivered until Refkeep has heard it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from refkeep_client import (
    EntityKey,
    Forbidden,
    Gone,
    NotFound,
    Refkeep,
    RefkeepError,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from tests.consumers.shared.calls import sent_once
from tests.consumers.shared.database import Connection, Pool
from tests.consumers.shared.tracing import current_traceparent

_log = logging.getLogger(__name__)

_PROMISE = """
INSERT INTO outbox (entity_type, entity_id, ref_id, traceparent) SELECT $1, $2, $3::uuid, $4
WHERE NOT EXISTS (SELECT FROM outbox WHERE entity_type = $1 AND entity_id = $2 AND ref_id IS NOT DISTINCT FROM $3)
"""
_CLAIM = """
UPDATE outbox SET due = now() + interval '30 seconds', attempts = attempts + 1
WHERE id = (SELECT id FROM outbox WHERE parked IS NULL AND {} ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, entity_type, entity_id, ref_id, key, traceparent
"""
_CLAIM_DUE = _CLAIM.format("due <= now()")
_CLAIM_OF_ENTITY = _CLAIM.format("entity_type = $1 AND entity_id = $2 AND attempts < $3")
_POSTPONE = (
    "UPDATE outbox SET due = now() + least(0.1 * 2 ^ least(attempts, 9), 30) * interval '1 second' WHERE id = $1"
)
_LOOK_S = 1.0
_LATER = (Unreachable, Unavailable, Unauthorized, Forbidden)  # a key that is revoked is replaced some day


async def promise_release(connection: Connection, entity: EntityKey, ref_id: UUID | None = None) -> None:
    """Within the transaction that makes it necessary: a ref of this entity, or all of them, is to be let go of.

    By its id, never by its slot: a slot may show something newer by the time that Refkeep hears of this.
    """
    await connection.execute(_PROMISE, entity.entity_type, entity.entity_id, ref_id, current_traceparent())


async def promised(connection: Connection, entity: EntityKey) -> set[UUID]:
    """The refs of this entity that Refkeep may still show, and that we do not."""
    query = "SELECT ref_id FROM outbox WHERE entity_type = $1 AND entity_id = $2 AND ref_id IS NOT NULL"
    return {row["ref_id"] for row in await connection.fetch(query, entity.entity_type, entity.entity_id)}


@dataclass
class Courier:
    """Delivers the outbox, at least once: to release again is a noop. Any number of processes may have one."""

    refkeep: Refkeep
    pool: Pool
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Something was committed."""
        self._news.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            self._news.clear()
            try:
                while (row := await self.pool.fetchrow(_CLAIM_DUE)) is not None:
                    await self._deliver(row)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                _log.exception("the outbox could not be read")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _LOOK_S)

    async def hurry(self, entity: EntityKey) -> bool:
        """Deliver now what concerns this entity; whether all of it is."""
        by = entity.entity_type, entity.entity_id
        query = "SELECT count(*), max(attempts) FROM outbox WHERE entity_type = $1 AND entity_id = $2"
        waiting, most = await self.pool.fetchrow(query, *by) or (0, 0)
        while waiting and (row := await self.pool.fetchrow(_CLAIM_OF_ENTITY, *by, most + 1)) is not None:
            await self._deliver(row)
        return not waiting or not await self.pool.fetchval(query, *by)

    async def _deliver(self, row: asyncpg.Record) -> None:
        """One attempt, outside of any transaction."""
        try:
            await self._release(row)
        except (NotFound, Gone):
            await self._done(row)
        except _LATER as error:
            _log.info("release %s: %s", row["id"], error)
            await self.pool.execute(_POSTPONE, row["id"])
        except RefkeepError as error:
            _log.warning("release %s is parked: %s", row["id"], error)
            await self.pool.execute("UPDATE outbox SET parked = $2 WHERE id = $1", row["id"], str(error))
        else:
            await self._done(row)

    async def _release(self, row: asyncpg.Record) -> None:
        options = sent_once(str(row["key"]), row["traceparent"])
        if row["ref_id"] is None:
            await self.refkeep.refs.release(EntityKey(row["entity_type"], row["entity_id"]), **options)
        else:
            await self.refkeep.media.delete(row["ref_id"], **options)

    async def _done(self, row: asyncpg.Record) -> None:
        await self.pool.execute("DELETE FROM outbox WHERE id = $1", row["id"])
