"""Illustrations: an ordered list of pictures for each chapter, kept in the order that Refkeep gives them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from refkeep_client import Attached, EntityKey, Refkeep, Rejected, RoleKey, VersionConflict
from tests.consumers.shared.calls import sent_with, traced
from tests.consumers.shared.covers import mark_departed, release_if_departed
from tests.consumers.shared.database import Connection, Pool
from tests.consumers.shared.outbox import Courier, promise_release, promised
from tests.consumers.shared.picture import Picture
from tests.consumers.shared.projection import Shown
from tests.consumers.shared.refusals import gone, list_changed, not_found, not_now, refkeep_refusals
from tests.consumers.shared.tracing import calling

ENTITY_TYPE, ROLE = "block", "image"
"""A role that Refkeep's packaged policies have: a chapter is one block, its illustrations are the block's images."""
_TRIES = 3
_LOCK = "SELECT version, illustrations FROM chapters WHERE book_id = $1 AND id = $2 FOR UPDATE"
_STORE = "UPDATE chapters SET version = $3, illustrations = $4 WHERE book_id = $1 AND id = $2 AND version < $3"


@dataclass(frozen=True)
class Chapter:
    """Chapter 3 of book 42; `42:3` in Refkeep."""

    book_id: str
    id: str

    @property
    def entity(self) -> EntityKey:
        """What Refkeep calls it."""
        return EntityKey(ENTITY_TYPE, f"{self.book_id}:{self.id}")

    @property
    def role(self) -> RoleKey:
        """Its list in Refkeep."""
        return self.entity.role(ROLE)

    @classmethod
    def of(cls, entity: EntityKey) -> Chapter:
        """The other way round."""
        book_id, _, chapter_id = entity.entity_id.rpartition(":")
        return cls(book_id, chapter_id)


@dataclass(frozen=True)
class Listed:
    """The illustrations of a chapter in order, and the version of which they are that."""

    version: int
    ref_ids: tuple[UUID, ...]


@dataclass(frozen=True)
class Illustrations:
    """What the rows of `chapters` show."""

    refkeep: Refkeep
    pool: Pool
    courier: Courier

    entity_types = frozenset({ENTITY_TYPE})

    async def listed(self, chapter: Chapter) -> Listed:
        """From our own table. Raises the refusal of a chapter that is not there."""
        query = "SELECT version, illustrations FROM chapters WHERE book_id = $1 AND id = $2"
        row = await self.pool.fetchrow(query, chapter.book_id, chapter.id)
        if row is None:
            raise not_found("chapter")
        return Listed(row["version"], tuple(row["illustrations"]))

    async def append(self, chapter: Chapter, picture: Picture, key: str) -> Attached:
        """Put a picture behind the last one. With the same key it is there once, however often this is asked."""
        await self.listed(chapter)
        with refkeep_refusals(), calling("refkeep.append_illustration") as trace:
            attached = await self.refkeep.refs.append(chapter.role, picture.pieces, **sent_with(picture, key, trace))
        if not await self._keep_appended(chapter, attached):
            await self._look_again(chapter)
        return attached

    async def reorder(self, chapter: Chapter, ref_ids: Sequence[UUID], seen: int | None, key: str) -> Listed:
        """Put them in this order. `seen` is the version that the caller looked at, None when they did not say.

        Where Refkeep has a newer one (412), a caller who named theirs is told. For one who did not, the list is looked
        at again: while it consists of the same pictures their wish is clear, and asked again; else they are told. A
        key belongs to one request, so each version that is tried has its own.
        """
        if not await self.courier.hurry(chapter.entity):
            raise not_now()  # Refkeep still shows what we do not: no order of ours would be a permutation of its own
        known = await self.listed(chapter)
        for _ in range(_TRIES):
            if sorted(known.ref_ids) != sorted(ref_ids):
                break
            version = known.version if seen is None else seen
            if (done := await self._try_order(chapter, ref_ids, version, f"{key}.{version}")) is not None:
                return done
            known = await self._look_again(chapter)
            if seen is not None:
                raise list_changed(412, known.version, [str(ref_id) for ref_id in known.ref_ids])
        known = await self._look_again(chapter)
        raise list_changed(409, known.version, [str(ref_id) for ref_id in known.ref_ids])

    async def remove(self, chapter: Chapter, ref_id: UUID) -> None:
        """Show it no more; Refkeep hears of it as soon as it can, by its id. Again is nothing."""
        async with self.pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(_LOCK, chapter.book_id, chapter.id)
            if row is None:
                raise not_found("chapter")
            if ref_id in row["illustrations"]:
                query = (
                    "UPDATE chapters SET illustrations = array_remove(illustrations, $3) WHERE book_id = $1 AND id = $2"
                )
                await connection.execute(query, chapter.book_id, chapter.id, ref_id)
                await promise_release(connection, chapter.entity, ref_id)

    async def depart(self, connection: Connection, book_id: str) -> None:
        """Within a transaction that deletes a book, while its chapters are still there: what they show will go."""
        for row in await connection.fetch("SELECT id FROM chapters WHERE book_id = $1 FOR UPDATE", book_id):
            entity = Chapter(book_id, row["id"]).entity
            await mark_departed(connection, entity)
            await promise_release(connection, entity)

    async def follow(self, connection: Connection, entity: EntityKey, version: int, refs: Sequence[Shown]) -> None:
        """What the feed knows better than we do."""
        hidden, chapter = await promised(connection, entity), Chapter.of(entity)
        if await connection.fetchrow(_LOCK, chapter.book_id, chapter.id) is None:
            if refs:
                await release_if_departed(connection, entity)
            return
        ref_ids = [ref.ref_id for ref in refs if ref.role == ROLE and ref.ref_id not in hidden]
        await connection.execute(_STORE, chapter.book_id, chapter.id, version, ref_ids)

    async def entities(self, connection: Connection) -> Iterable[EntityKey]:
        """The chapters that show anything."""
        rows = await connection.fetch("SELECT book_id, id FROM chapters WHERE illustrations <> '{}'")
        return [Chapter(row["book_id"], row["id"]).entity for row in rows]

    async def _keep_appended(self, chapter: Chapter, attached: Attached) -> bool:
        """Store the answer where it is the next version of what we have; False where something lies between."""
        async with self.pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(_LOCK, chapter.book_id, chapter.id)
            if row is None:
                await promise_release(connection, chapter.entity, attached.ref.ref_id)
            elif attached.entity.version == row["version"] + 1:
                ref_ids = [*row["illustrations"], attached.ref.ref_id]
                await connection.execute(_STORE, chapter.book_id, chapter.id, attached.entity.version, ref_ids)
            elif attached.entity.version > row["version"]:
                return False
        if row is None:
            raise gone("chapter")
        return True

    async def _try_order(self, chapter: Chapter, ref_ids: Sequence[UUID], version: int, key: str) -> Listed | None:
        """None where Refkeep has another version or another list."""
        with refkeep_refusals(), calling("refkeep.order_illustrations") as trace:
            try:
                changed = await self.refkeep.refs.order(chapter.role, ref_ids, if_match=version, **traced(key, trace))
            except VersionConflict:
                return None
            except Rejected as error:
                if error.code != "not-a-permutation":
                    raise
                return None
        async with self.pool.acquire() as connection:
            await connection.execute(_STORE, chapter.book_id, chapter.id, changed.entity.version, list(ref_ids))
        return Listed(changed.entity.version, tuple(ref_ids))

    async def _look_again(self, chapter: Chapter) -> Listed:
        """Ask Refkeep, and store what is newer than what we have."""
        with refkeep_refusals():
            found = await self.refkeep.refs.get(chapter.role)
        async with self.pool.acquire() as connection, connection.transaction():
            refs = [Shown.of(ref) for ref in found.items]
            await self.follow(connection, chapter.entity, found.entity.version, refs)
        return await self.listed(chapter)
