"""A whole manifest, entity by entity, several at a time; given again after a crash, it goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from service.application.import_entity import Effort, ImportEntity, RowResult
from service.application.side_by_side import side_by_side
from service.domain.event import Actor
from service.domain.importing import Verdict, actor_of
from service.domain.slot import EntityKey
from service.observability import observed
from service.ports.imports import ImportLedger, ImportRun, RunState
from service.ports.worklist import Worklist

_PAGE = 200

Tell = Callable[[Sequence[RowResult]], None]
"""Called once for each entity, with what became of its rows."""


@dataclass(frozen=True, slots=True)
class ImportManifest:
    """Entities wait in the worklist, `jobs` of them are in memory."""

    imports: ImportLedger
    import_entity: ImportEntity
    jobs: int

    @observed("import.run", layer="usecase")
    async def __call__(self, worklist: Worklist, run: ImportRun | None, effort: Effort, tell: Tell) -> Counter[Verdict]:
        """How many rows came to which end; without a run nothing is written, so `effort` is not `DO`.

        Raises what `ImportEntity` raises; what was imported until then stays, and the run can go on. Raises
        `ImportRolledBack` where it cannot, because it was taken back meanwhile.
        """
        counts: Counter[Verdict] = Counter()
        actor = Actor("import") if run is None else actor_of(run.id)

        def tell_all(results: Sequence[RowResult]) -> None:
            counts.update(result.verdict for result in results)
            tell(results)

        async def one(entity: EntityKey) -> None:
            tell_all(await self.import_entity(worklist.work(entity), actor, effort))

        for mistake in worklist.strays():
            tell_all([RowResult(mistake.line, Verdict.FAILED, mistake.source_id, reason=mistake.reason)])
        await side_by_side(self._entities(worklist, run), self.jobs, one)
        if run is not None:
            await self.imports.finish(run.id, RunState.DONE, {verdict.value: n for verdict, n in counts.items()})
        return counts

    async def _entities(self, worklist: Worklist, run: ImportRun | None) -> AsyncIterator[EntityKey]:
        """Every entity, each announced before its turn comes."""
        after: EntityKey | None = None
        while page := worklist.entities(after, _PAGE):
            if run is not None:
                await self.import_entity.patiently(lambda: self.imports.announce(run.id, page))
            for entity in page:
                yield entity
            after = page[-1]
