"""The projection: what Refkeep keeps for our entities, from its feed; and what our own tables learn from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid4

import msgspec

from refkeep_client import EntityKey, Event, EventPage, EventRef, Ref, Refkeep, SnapshotRef
from tests.consumers.shared.database import Connection, Pool

_PUT = """
INSERT INTO projection (entity_type, entity_id, version, refs) VALUES ($1, $2, $3, $4)
ON CONFLICT (entity_type, entity_id) DO UPDATE SET version = excluded.version, refs = excluded.refs
WHERE projection.version < excluded.version
RETURNING true
"""
_SEEN = "UPDATE projection SET round = $3 WHERE entity_type = $1 AND entity_id = $2"
_UNSEEN = "SELECT entity_type, entity_id FROM projection WHERE round IS DISTINCT FROM $1 AND refs <> '[]'"
_LOCK = "SELECT version, refs FROM projection WHERE entity_type = $1 AND entity_id = $2 FOR UPDATE"


class Shown(msgspec.Struct, frozen=True):
    """A live ref, as far as this service wants to know it."""

    ref_id: UUID
    role: str
    position: int
    sha256: str
    visibility: str
    filename: str | None
    alt: str | None

    @classmethod
    def of(cls, ref: Ref | EventRef) -> Shown:
        """From an answer, a line of a snapshot, or an event."""
        sha256 = ref.blob.sha256 if isinstance(ref, Ref) else ref.sha256
        return cls(ref.ref_id, ref.role, ref.position or 0, sha256, ref.visibility, ref.filename, ref.alt)


class Owner(Protocol):
    """What the service's own tables say of these entities, beside the projection."""

    @property
    def entity_types(self) -> frozenset[str]:
        """Those that are ours; other services write to the same workspace."""
        ...

    async def follow(self, connection: Connection, entity: EntityKey, version: int, refs: Sequence[Shown]) -> None:
        """Refkeep had exactly these refs at that version: newer than what is stored, it takes its place."""
        ...

    async def entities(self, connection: Connection) -> Iterable[EntityKey]:
        """Those that show anything."""
        ...


class MissedEvents(Exception):
    """Between what is known of an entity and this event lies something else: it must be asked for."""

    def __init__(self, entity: EntityKey) -> None:
        super().__init__(entity)
        self.entity = entity


@dataclass(frozen=True)
class Projection:
    """Takes pages in, each in one transaction with the cursor behind it."""

    refkeep: Refkeep
    pool: Pool
    owner: Owner

    async def cursor(self) -> str:
        """Where to read on; before the first time that of a snapshot, which is taken in."""
        stored = await self.pool.fetchval("SELECT cursor FROM feed")
        return await self._begin_anew() if stored is None else str(stored)

    async def forget_cursor(self) -> None:
        """The events behind it are gone: the next beginning is a snapshot."""
        await self.pool.execute("UPDATE feed SET cursor = NULL")

    async def take(self, page: EventPage) -> None:
        """Apply a page; an entity of which something was missed is asked for, and the page applied again."""
        while True:
            try:
                async with self.pool.acquire() as connection, connection.transaction():
                    for event in page.events:
                        await self._apply(connection, event)
                    await connection.execute("UPDATE feed SET cursor = $1", page.next)
            except MissedEvents as missed:
                await self.ask_for(missed.entity)
            else:
                return

    async def _apply(self, connection: Connection, event: Event) -> None:
        told = event.data.entity
        if told is None or told.type not in self.owner.entity_types or event.data.decision == "reject":
            return
        entity = EntityKey(told.type, told.id)
        row = await connection.fetchrow(_LOCK, told.type, told.id)
        version, refs = (0, []) if row is None else (row["version"], _decoded(row["refs"]))
        if told.version <= version:
            return  # told twice, or known from a snapshot
        if told.version > version + 1:
            raise MissedEvents(entity)
        await self._put(connection, entity, told.version, evolve(refs, event))

    async def _put(self, connection: Connection, entity: EntityKey, version: int, refs: Sequence[Shown]) -> None:
        """Newer wins, whatever order they come in."""
        document = msgspec.json.encode(refs).decode()
        if await connection.fetchval(_PUT, entity.entity_type, entity.entity_id, version, document):
            await self.owner.follow(connection, entity, version, refs)

    async def ask_for(self, entity: EntityKey) -> None:
        """Take in what Refkeep shows of an entity now, unless something newer is known already."""
        found = await self.refkeep.refs.get(entity)
        async with self.pool.acquire() as connection, connection.transaction():
            await self._put(connection, entity, found.entity.version, [Shown.of(ref) for ref in found.items])

    async def _begin_anew(self) -> str:
        """Take a snapshot in, entity by entity; ask for those that it does not have; store its cursor last."""
        this_round = uuid4()
        async with self.refkeep.events.snapshot() as snapshot:
            async for entity, version, refs in _by_entity(snapshot.refs):
                if entity.entity_type in self.owner.entity_types:
                    async with self.pool.acquire() as connection, connection.transaction():
                        await self._put(connection, entity, version, refs)
                        await connection.execute(_SEEN, entity.entity_type, entity.entity_id, this_round)
        for entity in await self._left_out(this_round):
            await self.ask_for(entity)
        await self.pool.execute("UPDATE feed SET cursor = $1", snapshot.cursor)
        return snapshot.cursor

    async def _left_out(self, this_round: UUID) -> set[EntityKey]:
        """What we show and the snapshot does not."""
        async with self.pool.acquire() as connection:
            unseen = {EntityKey(*row) for row in await connection.fetch(_UNSEEN, this_round)}
            seen = await connection.fetch("SELECT entity_type, entity_id FROM projection WHERE round = $1", this_round)
            return unseen | set(await self.owner.entities(connection)) - {EntityKey(*row) for row in seen}


def evolve(refs: Sequence[Shown], event: Event) -> list[Shown]:
    """The live refs of an entity after the next event about it; what is not understood raises `MissedEvents`."""
    data, role_name = event.data, event.data.role
    ref = None if data.ref is None else Shown.of(data.ref)
    role_name = role_name if ref is None else ref.role
    role = [each for each in refs if each.role == role_name]
    others = [each for each in refs if each.role != role_name]
    match event.type.removeprefix("refkeep.ref."), ref:
        case ("inserted.v1" | "restored.v1" | "replaced.v1" | "updated.v1") as kind, Shown():
            takes_place = data.replaced is not None or kind == "updated.v1"
            role[ref.position : ref.position + takes_place] = [ref]
        case "released.v1", Shown():
            role = [each for each in role if each.ref_id != ref.ref_id]
        case "reordered.v1", _ if {each.ref_id for each in role} == set(data.ref_ids or ()):
            by_id = {each.ref_id: each for each in role}
            role = [by_id[ref_id] for ref_id in data.ref_ids or ()]
        case "purged.v1", _:
            pass  # it was in the trash
        case _:
            assert data.entity is not None
            raise MissedEvents(EntityKey(data.entity.type, data.entity.id))
    numbered = [msgspec.structs.replace(each, position=position) for position, each in enumerate(role)]
    return sorted(others + numbered, key=lambda each: (each.role, each.position))


async def _by_entity(lines: AsyncIterator[SnapshotRef]) -> AsyncIterator[tuple[EntityKey, int, list[Shown]]]:
    """The lines of an entity stand together."""
    entity, version, refs = None, 0, list[Shown]()
    async for line in lines:
        owner = EntityKey(line.entity_type, line.entity_id)
        if entity is not None and owner != entity:
            yield entity, version, refs
            refs = []
        entity, version = owner, line.version
        refs.append(Shown.of(line))
    if entity is not None:
        yield entity, version, refs


def _decoded(document: str) -> list[Shown]:
    return msgspec.json.decode(document, type=list[Shown])
