"""Covers: one picture for each row of a table. The natural way of an upload, and of its end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from refkeep_client import Attached, EntityKey, Refkeep
from tests.consumers.shared.calls import sent_with
from tests.consumers.shared.database import Connection, Pool
from tests.consumers.shared.outbox import Courier, promise_release, promised
from tests.consumers.shared.picture import Picture
from tests.consumers.shared.projection import Shown
from tests.consumers.shared.refusals import gone, not_found, not_now, refkeep_refusals
from tests.consumers.shared.tracing import calling

COVER = "cover"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:@-]{0,99}")
_IS_DEPARTED = "SELECT true FROM departed WHERE entity_type = $1 AND entity_id = $2"


@dataclass(frozen=True)
class Covers:
    """Of the rows of `table`, which has `id`, `cover_ref_id` and `cover_version`; in Refkeep they are `entity_type`."""

    refkeep: Refkeep
    pool: Pool
    courier: Courier
    entity_type: str
    table: str

    @property
    def entity_types(self) -> frozenset[str]:
        """What of the feed is ours."""
        return frozenset({self.entity_type})

    def entity(self, owner_id: str) -> EntityKey:
        """What Refkeep calls it."""
        return EntityKey(self.entity_type, owner_id)

    async def admit(self, owner_id: str) -> None:
        """Raises the refusal of an id that Refkeep could not carry, or that was used before."""
        if _ID.fullmatch(owner_id) is None:
            raise not_found(self.entity_type)
        if await self.pool.fetchval(_IS_DEPARTED, self.entity_type, owner_id):
            raise gone(self.entity_type)

    async def row(self, owner_id: str) -> asyncpg.Record:
        """A row of the table. Raises the refusal of one that is not there."""
        row = await self.pool.fetchrow(f"SELECT * FROM {self.table} WHERE id = $1", owner_id)
        if row is None:
            await self.admit(owner_id)
            raise not_found(self.entity_type)
        return row

    async def put(self, owner_id: str, picture: Picture, key: str) -> Attached:
        """One call of Refkeep, then one transaction of ours; with the same key, the same again.

        Refkeep comes first: a ref that we never hear of is brought by the feed, a pointer to nothing by nobody. Between
        the two no lock is held and no transaction is open. There is a second call only where Refkeep has these very
        bytes still there, since it has not heard yet that we let go of them. Raises `Refusal`.
        """
        await self.row(owner_id)
        for each in (key, f"{key}.again"):
            attached = await self._send(owner_id, picture, each)
            if await self._keep(owner_id, attached):
                return attached
            if not await self.courier.hurry(self.entity(owner_id)):
                break
        raise not_now()

    async def remove(self, owner_id: str) -> None:
        """Show no cover from now on; Refkeep hears of it as soon as it can. Again is nothing."""
        async with self.pool.acquire() as connection, connection.transaction():
            await self.withdraw(connection, owner_id)

    async def withdraw(self, connection: Connection, owner_id: str) -> None:
        """`remove` within a transaction, which may put something else in its place."""
        query = f"SELECT cover_ref_id FROM {self.table} WHERE id = $1 FOR UPDATE"
        row = await connection.fetchrow(query, owner_id)
        if row is None:
            raise not_found(self.entity_type)
        if row["cover_ref_id"] is not None:
            await connection.execute(f"UPDATE {self.table} SET cover_ref_id = NULL WHERE id = $1", owner_id)
            await promise_release(connection, self.entity(owner_id), row["cover_ref_id"])

    async def depart(self, connection: Connection, owner_id: str) -> bool:
        """Within a transaction: the row goes, and what it shows will be let go of. False when it was not there."""
        if not await connection.fetchval(f"DELETE FROM {self.table} WHERE id = $1 RETURNING true", owner_id):
            return False
        await mark_departed(connection, self.entity(owner_id))
        await promise_release(connection, self.entity(owner_id))
        return True

    async def follow(self, connection: Connection, entity: EntityKey, version: int, refs: Sequence[Shown]) -> None:
        """What the feed knows better than we do: covers whose answer we did not live to store, and what others did."""
        hidden = await promised(connection, entity)
        cover = next((ref.ref_id for ref in refs if ref.role == COVER and ref.ref_id not in hidden), None)
        if await self._store(connection, entity.entity_id, cover, version) is None and refs:
            await release_if_departed(connection, entity)

    async def entities(self, connection: Connection) -> Iterable[EntityKey]:
        """Those that have a cover."""
        rows = await connection.fetch(f"SELECT id FROM {self.table} WHERE cover_ref_id IS NOT NULL")
        return [self.entity(row["id"]) for row in rows]

    async def _send(self, owner_id: str, picture: Picture, key: str) -> Attached:
        slot = self.entity(owner_id).slot(COVER)
        with refkeep_refusals(), calling("refkeep.put_cover") as trace:
            return await self.refkeep.refs.put(slot, picture.pieces, **sent_with(picture, key, trace))

    async def _keep(self, owner_id: str, attached: Attached) -> bool:
        """Store the answer; False where it says that nothing changed, and we show something else.

        Raises the refusal of a row that was deleted while the bytes were on their way, which ends the ref, too.
        """
        async with self.pool.acquire() as connection, connection.transaction():
            ref_id = attached.ref.ref_id
            row = await self._store(connection, owner_id, ref_id, attached.entity.version)
            if row is None:
                await promise_release(connection, self.entity(owner_id), ref_id)
        if row is None:
            raise gone(self.entity_type)
        return attached.decision != "noop" or row["cover_ref_id"] == ref_id

    async def _store(
        self, connection: Connection, owner_id: str, cover: UUID | None, version: int
    ) -> asyncpg.Record | None:
        """The row, which has this cover now unless it knows of a newer version; None where it is not there."""
        query = f"SELECT cover_ref_id, cover_version FROM {self.table} WHERE id = $1 FOR UPDATE"
        row = await connection.fetchrow(query, owner_id)
        if row is None or row["cover_version"] >= version:
            return row
        query = f"UPDATE {self.table} SET cover_ref_id = $2, cover_version = $3 WHERE id = $1 RETURNING cover_ref_id"
        return await connection.fetchrow(query, owner_id, cover, version)


async def mark_departed(connection: Connection, entity: EntityKey) -> None:
    """It was deleted by us, on purpose: what still arrives for it may be let go of."""
    query = "INSERT INTO departed (entity_type, entity_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"
    await connection.execute(query, entity.entity_type, entity.entity_id)


async def release_if_departed(connection: Connection, entity: EntityKey) -> None:
    """An upload outlived its owner. Strangers are left alone: a restored database knows little."""
    if await connection.fetchval(_IS_DEPARTED, entity.entity_type, entity.entity_id):
        await promise_release(connection, entity)
