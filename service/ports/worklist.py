"""Rows of a manifest on their way: they come in any order, and go entity by entity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.domain.importing import ManifestRow, Reason
from service.domain.slot import EntityKey


@dataclass(frozen=True, slots=True)
class Mistake:
    """A line that is no good, and whose entity it spoils: None where that cannot be read."""

    line: int
    reason: Reason
    entity: EntityKey | None = None
    source_id: str | None = None


@dataclass(frozen=True, slots=True)
class EntityWork:
    """All rows of an entity in the order of their lines; where `mistakes` has any, none of them is to be imported."""

    entity: EntityKey
    rows: tuple[ManifestRow, ...]
    mistakes: tuple[Mistake, ...] = ()


class Worklist(Protocol):
    """Keeps rows beside memory. Filled first, read after that. Its methods block, for milliseconds each."""

    def add(self, row: ManifestRow) -> None:
        """Take a row in."""

    def add_mistake(self, mistake: Mistake) -> None:
        """Take a line in that is no good."""

    def settle(self) -> int:
        """End the filling; returns how many rows and mistakes were taken in.

        Finds what only all rows together show: the same source id or slot twice, positions with gaps, an entity with
        too many rows.
        """

    def entities(self, after: EntityKey | None, limit: int) -> Sequence[EntityKey]:
        """At most `limit` entities that have rows or mistakes behind `after`, in the order of their keys."""

    def work(self, entity: EntityKey) -> EntityWork:
        """What there is to do for an entity."""

    def strays(self) -> Iterator[Mistake]:
        """Mistakes of lines that do not tell their entity."""
