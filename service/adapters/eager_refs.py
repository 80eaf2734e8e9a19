"""Any ref ledger, with renditions begun of what it attaches; stacked at the root, beneath the use cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from service.domain.blob import Sha256
from service.domain.event import DecisionKind
from service.domain.ref import ResolvedRef
from service.domain.slot import EntityKey
from service.ports.idempotency import Claim, Replay
from service.ports.refs import (
    BatchOutcome,
    Change,
    EntityRefs,
    Question,
    RefLedger,
    RefOutcome,
    RoleJudge,
    RoleQuestion,
)

_SHOWN_ANEW = {DecisionKind.INSERT, DecisionKind.REPLACE, DecisionKind.RESTORE}


class EagerRefs:
    """Answers as `refs` does. What fills a slot from now on is handed to `begin`, which neither waits nor raises."""

    def __init__(self, refs: RefLedger, begin: Callable[[ResolvedRef], None]) -> None:
        self._refs, self._begin = refs, begin

    async def change(
        self, question: Question, judge: RoleJudge, claim: Claim[RefOutcome] | None = None
    ) -> RefOutcome | Replay:
        """Judge and carry out."""
        outcome = await self._refs.change(question, judge, claim)
        if isinstance(outcome, RefOutcome):
            self._note([outcome])
        return outcome

    async def change_all(
        self, workspace: str, changes: Sequence[Change], claim: Claim[BatchOutcome] | None = None
    ) -> BatchOutcome | Replay:
        """Judge and carry out, all or none."""
        outcomes = await self._refs.change_all(workspace, changes, claim)
        if not isinstance(outcomes, Replay):
            self._note(outcomes)
        return outcomes

    async def rehearse(
        self, question: RoleQuestion, judge: RoleJudge, claim: Claim[Any] | None = None
    ) -> Replay | None:
        """Judge alone."""
        return await self._refs.rehearse(question, judge, claim)

    async def of_entity(
        self, entity: EntityKey, role: str | None = None, after: tuple[str, int] = ("", 0), limit: int = 500
    ) -> EntityRefs:
        """Live refs."""
        return await self._refs.of_entity(entity, role, after, limit)

    async def find(self, workspace: str, ref_id: UUID) -> ResolvedRef | None:
        """One ref."""
        return await self._refs.find(workspace, ref_id)

    async def of_blob(self, workspace: str, sha256: Sha256) -> tuple[ResolvedRef, ...]:
        """Refs to a blob."""
        return await self._refs.of_blob(workspace, sha256)

    def _note(self, outcomes: Sequence[RefOutcome]) -> None:
        for outcome in outcomes:
            if outcome.ref is not None and outcome.decision in _SHOWN_ANEW:
                self._begin(outcome.ref)
