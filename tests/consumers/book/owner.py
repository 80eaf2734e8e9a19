"""What the feed is told to: a cover goes to its book, a list of illustrations to its chapter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from refkeep_client import EntityKey
from tests.consumers.book.illustrations import Illustrations
from tests.consumers.shared.covers import Covers
from tests.consumers.shared.database import Connection
from tests.consumers.shared.projection import Shown


@dataclass(frozen=True)
class Books:
    """The owner of both kinds of entities."""

    covers: Covers
    illustrations: Illustrations

    @property
    def entity_types(self) -> frozenset[str]:
        """Books and the blocks that are their chapters."""
        return self.covers.entity_types | self.illustrations.entity_types

    async def follow(self, connection: Connection, entity: EntityKey, version: int, refs: Sequence[Shown]) -> None:
        """To whom it belongs."""
        owner = self.covers if entity.entity_type in self.covers.entity_types else self.illustrations
        await owner.follow(connection, entity, version, refs)

    async def entities(self, connection: Connection) -> Iterable[EntityKey]:
        """All that show anything."""
        return [*await self.covers.entities(connection), *await self.illustrations.entities(connection)]

    async def depart(self, connection: Connection, book_id: str) -> None:
        """Within a transaction: a book goes, with its chapters and everything they show. Again is nothing."""
        await self.illustrations.depart(connection, book_id)
        await self.covers.depart(connection, book_id)
