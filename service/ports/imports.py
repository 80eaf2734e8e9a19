"""What is kept of imports: which runs there were, which entities each has come to, and what became of those since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from service.domain.importing import EntityStory
from service.domain.slot import EntityKey


class RunState(StrEnum):
    """A run that is not `done` goes on where it was when the same manifest is given again."""

    RUNNING = "running"
    DONE = "done"
    ROLLED_BACK = "rolled-back"


@dataclass(frozen=True, slots=True)
class ImportRun:
    """One import of one manifest, however often it was begun again.

    `manifest` is the SHA-256 of its bytes, `name` what people call it; `entities` how many it has come to; `counts`
    what became of rows in its last pass, by verdict, empty before its end.
    """

    id: str
    manifest: str
    name: str
    state: RunState
    started_at: datetime
    touched_at: datetime
    entities: int
    counts: dict[str, int]


class ImportLedger(Protocol):
    """Runs and their entities. Refs themselves are written by `RefLedger`, their events tell the run as their actor."""

    async def begin(self, manifest: str, name: str) -> ImportRun:
        """The run of this manifest that was not rolled back, running from now on; a new one where there is none.

        Any number of processes may ask at the same time: they get the same run.
        """

    async def announce(self, run_id: str, entities: Sequence[EntityKey]) -> None:
        """Say that the run is about to write to these entities; those of unknown workspaces are left out. Idempotent.

        Said before it happens, so that a roll-back of a run that was killed knows all of them. Raises
        `ImportRolledBack`, though a roll-back that is under way is known at its end alone.
        """

    async def finish(self, run_id: str, state: RunState, counts: dict[str, int]) -> None:
        """Say how a pass of the run, or its roll-back, has ended.

        A run that was rolled back stays so: raises `ImportRolledBack` where a pass of it ends after that.
        """

    async def story(self, entity: EntityKey, early: Sequence[UUID] = ()) -> EntityStory:
        """What happened to an entity; of the ids `early` also those whose refs were purged.

        All of it is of one moment: what is written later changes the entity's version from the one that is told.
        Raises `NotFound` for an unknown workspace.
        """

    async def entities(self, run_id: str, after: EntityKey | None, limit: int) -> Sequence[EntityKey]:
        """At most `limit` entities of the run behind `after`, in the order of their keys."""

    async def runs(self, limit: int) -> Sequence[ImportRun]:
        """The runs, the latest first."""

    async def find(self, run_id: str) -> ImportRun | None:
        """One run."""
