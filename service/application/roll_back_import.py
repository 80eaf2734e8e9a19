"""What an import made and nobody has touched since is released again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from service.application.change_refs import ChangeRefs
from service.application.side_by_side import side_by_side
from service.domain.decision import Expectation
from service.domain.errors import VersionConflict
from service.domain.event import Actor
from service.domain.importing import Leave, Reason, RollBackPlan, actor_of, plan_roll_back
from service.domain.lifecycle import ReleaseRef
from service.domain.slot import EntityKey
from service.observability import observed
from service.ports.imports import ImportLedger, ImportRun, RunState

_PAGE = 200
_ATTEMPTS = 5

TellEntity = Callable[[EntityKey, RollBackPlan], None]
"""Called once for each entity of the run, with what was released and what was left."""


@dataclass(frozen=True, slots=True)
class RollBackImport:
    """Entity by entity, each in one transaction, `jobs` at a time."""

    imports: ImportLedger
    change: ChangeRefs
    jobs: int

    @observed("import.roll_back", layer="usecase")
    async def __call__(self, run: ImportRun, tell: TellEntity, *, dry_run: bool = False) -> None:
        """Release to the trash; a roll-back that was cut short is begun again. Raises `Unavailable`."""
        counts = {"released": 0, "left": 0}

        async def one(entity: EntityKey) -> None:
            plan = await self._roll_back(entity, actor_of(run.id), dry_run=dry_run)
            counts["released"] += len(plan.release)
            counts["left"] += len(plan.left)
            tell(entity, plan)

        await side_by_side(self._entities(run), self.jobs, one)
        if not dry_run:
            await self.imports.finish(run.id, RunState.ROLLED_BACK, counts)

    async def _roll_back(self, entity: EntityKey, actor: Actor, *, dry_run: bool) -> RollBackPlan:
        plan = plan_roll_back(await self.imports.story(entity), actor)
        for _ in range(_ATTEMPTS):
            if dry_run or not plan.release:
                return plan
            expected = Expectation(frozenset({plan.version}))
            releases = [ReleaseRef(entity.workspace, ref_id, actor, expected) for ref_id in plan.release]
            try:
                await self.change(entity.workspace, releases)
            except VersionConflict:
                plan = plan_roll_back(await self.imports.story(entity), actor)
                continue
            return plan
        busy = Reason("busy", "Others wrote to this entity again and again.")
        return RollBackPlan(plan.version, (), (*plan.left, *(Leave(ref_id, busy) for ref_id in plan.release)))

    async def _entities(self, run: ImportRun) -> AsyncIterator[EntityKey]:
        after: EntityKey | None = None
        while page := await self.imports.entities(run.id, after, _PAGE):
            for entity in page:
                yield entity
            after = page[-1]
