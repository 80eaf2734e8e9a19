"""The rows of one entity become refs: all that nobody has written, in one transaction, or none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TypeVar
from uuid import UUID

from service.application.change_refs import ChangeRefs
from service.application.changes import Rules
from service.application.upload_blob import Received, Upload, UploadBlob
from service.domain.blob import Sha256
from service.domain.decision import Decision, RoleState, reject
from service.domain.errors import NotFound, RefkeepError, Rejected, VersionConflict
from service.domain.event import Actor
from service.domain.importing import (
    EntityPlan,
    ManifestRow,
    Reason,
    RowPlan,
    Verdict,
    attach_of,
    held_back,
    plan_entity,
)
from service.domain.policy import refusal_of
from service.domain.slot import EntityKey
from service.observability import observed
from service.ports.idempotency import Replay
from service.ports.imports import ImportLedger
from service.ports.refs import RefLedger, RoleQuestion
from service.ports.sources import SourceFailed, Sources
from service.ports.worklist import EntityWork

_ATTEMPTS = 5
T = TypeVar("T")


class Effort(Enum):
    """How far an import goes: look at the ledger alone, get and judge the bytes and drop them, or do it."""

    LOOK = auto()
    TRY = auto()
    DO = auto()


@dataclass(frozen=True, slots=True)
class RowResult:
    """What became of a line, or would; `entity` and `role` are None where the line does not tell them."""

    line: int
    verdict: Verdict
    source_id: str | None = None
    entity: EntityKey | None = None
    role: str | None = None
    position: int | None = None
    ref_id: UUID | None = None
    sha256: Sha256 | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class ImportEntity:
    """How the rows of an entity become refs.

    `at_once` bounds how many sources are read at the same time, whatever number of entities; `delays` are seconds
    before each further attempt at what may pass.
    """

    sources: Sources
    upload: UploadBlob
    change: ChangeRefs
    refs: RefLedger
    imports: ImportLedger
    rules: Rules
    max_upload_bytes: int
    at_once: asyncio.Semaphore
    delays: tuple[float, ...] = (0.5, 1.0, 2.0)

    @observed("import.entity", layer="usecase")
    async def __call__(self, work: EntityWork, actor: Actor, effort: Effort) -> list[RowResult]:
        """What became of every row, durable on return. A refused row is a result, no error.

        Raises what says that nothing can be done now (`Unavailable`, `StorageUnavailable`, `StorageFull`), after some
        attempts.
        """
        if work.mistakes:
            return spoiled(work)
        try:
            return await _Attempt(self, work, actor, effort).run()
        except NotFound as error:
            reason = Reason(error.code, str(error))
            return [_result(RowPlan(row, Verdict.FAILED, reason=reason), None) for row in work.rows]

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Try again what failed for reasons that may pass."""
        for delay in self.delays:
            try:
                return await call()
            except (RefkeepError, SourceFailed) as error:
                if not _may_pass(error):
                    raise
            await asyncio.sleep(delay)
        return await call()


@dataclass(slots=True)
class _Attempt:
    """One entity on its way: by line, what bytes were `named` that came whole, and what became of each source."""

    use: ImportEntity
    work: EntityWork
    actor: Actor
    effort: Effort
    named: dict[int, Sha256] = field(default_factory=dict)
    found: dict[int, Sha256 | Reason] = field(default_factory=dict)

    async def run(self) -> list[RowResult]:
        for _ in range(_ATTEMPTS):
            plan = self._vetted(await self.use.patiently(self._plan))
            if self.effort is not Effort.LOOK and not plan.is_refused:
                await self._get(plan)
                plan = self._as_found(plan)
            if plan.is_refused:
                return self._results(held_back(plan))
            if self.effort is not Effort.DO or not plan.to_import:
                return self._results(plan)
            try:
                await self.use.patiently(lambda: self._attach(plan))  # noqa: B023 - awaited here
            except VersionConflict:
                continue
            except Rejected as error:
                return self._results(held_back(_refused(plan, plan.to_import[error.index or 0], error)))
            return self._results(plan)
        busy = Reason("version-conflict", "Others wrote to this entity again and again: run the import again later.")
        return [_result(RowPlan(row, Verdict.FAILED, reason=busy), None) for row in self.work.rows]

    async def _plan(self) -> EntityPlan:
        early = [ref_id for row in self.work.rows for ref_id in row.early_ids()]
        story = await self.use.imports.story(self.work.entity, early)
        return plan_entity(self.work.rows, story, self.use.rules.policies)

    def _vetted(self, plan: EntityPlan) -> EntityPlan:
        return replace(plan, rows=tuple(self._vetted_row(each) for each in plan.rows))

    def _vetted_row(self, plan: RowPlan) -> RowPlan:
        if plan.verdict is Verdict.IMPORTED:
            try:
                self.use.sources.vet(plan.row.location)
            except SourceFailed as error:
                return RowPlan(plan.row, Verdict.FAILED, reason=Reason(error.code, str(error)))
        return plan

    async def _get(self, plan: EntityPlan) -> None:
        """Have the bytes of all that is to be imported. Raises the first fault."""
        rows = [each.row for each in plan.to_import if each.row.line not in self.found]
        ends = await asyncio.gather(*(self._one(row) for row in rows))
        for row, end in zip(rows, ends, strict=True):
            if isinstance(end, RefkeepError):
                raise end
            self.found[row.line] = end

    async def _one(self, row: ManifestRow) -> Sha256 | Reason | RefkeepError:
        """The hash of the bytes, why there are none, or the fault that ends everything."""
        try:
            return await self._kept_or_why_not(row)
        except RefkeepError as error:
            return error

    async def _kept_or_why_not(self, row: ManifestRow) -> Sha256 | Reason:
        try:
            async with self.use.at_once:
                return await self.use.patiently(lambda: self._keep(row))
        except SourceFailed as error:
            return Reason(error.code, str(error))
        except Rejected as error:
            await self._record(row, error)
            return Reason(error.code, str(error))

    async def _keep(self, row: ManifestRow) -> Sha256:
        """Reserve, put, publish, as for any upload. Raises `SourceFailed` and what an upload raises."""
        policy = self.use.rules.policies.of(row.entity.type, row.role)
        limit = min(self.use.max_upload_bytes, policy.max_bytes or self.use.max_upload_bytes)

        async def admit(received: Received) -> Replay | None:
            self.named[row.line] = received.sha256
            if (refusal := refusal_of(policy, received.size, received.media)) is not None:
                raise refusal
            return None if self.effort is Effort.DO else Replay(b"")  # as if done before: nothing is kept

        async with self.use.sources.open(row.location) as opened:
            workspace = row.entity.workspace
            await self.use.upload(Upload(workspace, self.actor, opened.chunks, limit, opened.declared), admit=admit)
        return self.named[row.line]

    async def _record(self, row: ManifestRow, error: Rejected) -> None:
        """Put a refusal on record, as for any upload that was to be attached."""
        if self.effort is not Effort.DO:
            return

        def judge(state: RoleState) -> Decision:
            return reject(state, row.entity, row.role, self.actor, error, self.named.get(row.line))

        question = RoleQuestion(row.entity, row.role, None, None)
        try:
            await self.use.patiently(lambda: self.use.refs.change(question, judge))
        except Rejected:
            return

    async def _attach(self, plan: EntityPlan) -> None:
        """All that is to be imported, in one transaction, if the entity is still as it was judged."""
        commands = [
            attach_of(each, plan.version, sha256, self.actor)
            for each in plan.to_import
            if isinstance(sha256 := self.found[each.row.line], str)
        ]
        await self.use.change(self.work.entity.workspace, commands)

    def _as_found(self, plan: EntityPlan) -> EntityPlan:
        return replace(plan, rows=tuple(self._as_found_row(each) for each in plan.rows))

    def _as_found_row(self, plan: RowPlan) -> RowPlan:
        found = self.found.get(plan.row.line)
        if plan.verdict is Verdict.IMPORTED and isinstance(found, Reason):
            return RowPlan(plan.row, Verdict.FAILED, reason=found)
        return plan

    def _results(self, plan: EntityPlan) -> list[RowResult]:
        rows = sorted(plan.rows, key=lambda each: each.row.line)
        return [_result(each, self.found.get(each.row.line)) for each in rows]


def spoiled(work: EntityWork) -> list[RowResult]:
    """What becomes of an entity with mistakes: each is told, and nothing is imported."""
    wrong = {mistake.line for mistake in work.mistakes}
    first = min(wrong)
    detail = f"Line {first} of the same entity is wrong: an entity is imported whole or not at all."
    roles = {row.line: row.role for row in work.rows}
    told = [
        RowResult(each.line, Verdict.FAILED, each.source_id, work.entity, roles.get(each.line), reason=each.reason)
        for each in {mistake.line: mistake for mistake in reversed(work.mistakes)}.values()
    ]
    waiting: Sequence[ManifestRow] = [row for row in work.rows if row.line not in wrong]
    held = [_result(RowPlan(row, Verdict.HELD_BACK, reason=Reason("held-back", detail)), None) for row in waiting]
    return sorted([*told, *held], key=lambda result: result.line)


def _refused(plan: EntityPlan, refused: RowPlan, error: Rejected) -> EntityPlan:
    failed = RowPlan(refused.row, Verdict.FAILED, reason=Reason(error.code, str(error)))
    return replace(plan, rows=tuple(failed if each is refused else each for each in plan.rows))


def _result(plan: RowPlan, found: Sha256 | Reason | None) -> RowResult:
    row = plan.row
    return RowResult(
        row.line,
        plan.verdict,
        row.source_id,
        row.entity,
        row.role,
        plan.position,
        plan.ref_id,
        found if isinstance(found, str) else None,
        plan.reason,
    )


def _may_pass(error: RefkeepError | SourceFailed) -> bool:
    return error.may_pass if isinstance(error, SourceFailed) else error.outcome == "error"
