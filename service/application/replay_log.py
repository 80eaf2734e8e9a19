"""What was there: now, or at any moment that the log still tells of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from service.domain.event import EntityState, evolve_holding
from service.domain.ref import Holding
from service.domain.replay import retell_entity
from service.domain.slot import EntityKey
from service.ports.archive import Archive, Books, Scope


@dataclass(frozen=True, slots=True)
class Replayed:
    """An entity that had a version by then, or something that a workspace held."""

    entity: EntityKey | None = None
    state: EntityState | None = None
    holding: Holding | None = None


@dataclass(frozen=True, slots=True)
class ReplayLog:
    """Fold the log anew, without a look at the tables."""

    archive: Archive

    async def __call__(self, scope: Scope) -> AsyncIterator[Replayed]:
        """Entities, then holdings where no entity is asked for. Raises `BadCursor`, `CursorExpired`, `BrokenStory`."""
        async with self.archive.opened() as books:
            is_narrow = scope.entity_type is not None or scope.entity_id is not None
            for tellings in [_entities(books, scope), *([] if is_narrow else [_holdings(books, scope)])]:
                async for replayed in tellings:
                    yield replayed


async def _entities(books: Books, scope: Scope) -> AsyncIterator[Replayed]:
    entity, state = None, EntityState()
    async for entry in books.entities(scope):
        if entry.subject != entity:
            if state.version:
                yield Replayed(entity, state)
            entity, state = entry.subject, EntityState()
        state = entry.start or state
        if entry.event is not None:
            state = retell_entity(state, entry.event)
    if state.version:
        yield Replayed(entity, state)


async def _holdings(books: Books, scope: Scope) -> AsyncIterator[Replayed]:
    key, holding = None, None
    async for entry in books.holdings(scope):
        if entry.subject != key:
            if holding is not None:
                yield Replayed(holding=holding)
            key, holding = entry.subject, None
        holding = entry.start if entry.event is None else evolve_holding(entry.event)
    if holding is not None:
        yield Replayed(holding=holding)
