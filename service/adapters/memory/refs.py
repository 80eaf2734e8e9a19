"""The ref ledger in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from service.adapters.memory.database import MemoryDatabase
from service.domain.blob import Sha256
from service.domain.decision import Decision, RoleState, rejected_again
from service.domain.errors import NotFound, RefkeepError, Rejected, operation
from service.domain.event import EntityState
from service.domain.ref import Ref, ResolvedRef
from service.domain.slot import EntityKey
from service.ports.idempotency import Claim, Replay
from service.ports.refs import (
    BatchOutcome,
    Change,
    EntityRefs,
    Question,
    RefOutcome,
    RefQuestion,
    RoleJudge,
    RoleQuestion,
)

_MANY = 500


@dataclass(frozen=True, slots=True)
class MemoryRefs:
    """`RefLedger` in memory."""

    database: MemoryDatabase

    async def change(
        self, question: Question, judge: RoleJudge, claim: Claim[RefOutcome] | None = None
    ) -> RefOutcome | Replay:
        """See the port."""
        workspace = question.workspace if isinstance(question, RefQuestion) else question.entity.workspace
        self.database.workspace(workspace)
        if (replay := self.database.replay(workspace, claim)) is not None:
            return replay
        asked, state = self._asked(question)
        decision = judge(state)
        outcome = self._carry_out(asked.entity, decision)
        if decision.error is not None:
            raise decision.error
        self.database.answer(workspace, claim, outcome)
        return outcome

    async def change_all(
        self, workspace: str, changes: Sequence[Change], claim: Claim[BatchOutcome] | None = None
    ) -> BatchOutcome | Replay:
        """See the port."""
        self.database.workspace(workspace)
        if (replay := self.database.replay(workspace, claim)) is not None:
            return replay
        try:
            with self.database.all_or_nothing():
                outcomes = tuple(self._together(changes))
        except _BatchRejected as rejected:
            rejected.error.index = rejected.index
            again = rejected_again(self._slot_state(rejected.question), rejected.decision)
            self._carry_out(rejected.question.entity, again)
            raise rejected.error from None
        self.database.answer(workspace, claim, outcomes)
        return outcomes

    async def rehearse(
        self, question: RoleQuestion, judge: RoleJudge, claim: Claim[Any] | None = None
    ) -> Replay | None:
        """See the port."""
        workspace = question.entity.workspace
        self.database.workspace(workspace)
        if (replay := self.database.replay(workspace, claim)) is not None:
            return replay
        decision = judge(self._slot_state(question))
        if decision.error is not None:
            self._carry_out(question.entity, decision)
            raise decision.error
        return None

    async def of_entity(
        self, entity: EntityKey, role: str | None = None, after: tuple[str, int] = ("", 0), limit: int = 500
    ) -> EntityRefs:
        """See the port."""
        live = [ref for ref in self._live(entity, role) if (ref.role, ref.position or 0) > after]
        refs = tuple(self.database.resolved(ref) for ref in live)
        return EntityRefs(self._state(entity).version, refs[:limit], len(refs) > limit)

    async def find(self, workspace: str, ref_id: UUID) -> ResolvedRef | None:
        """See the port."""
        try:
            return self.database.resolved(self.database.ref(workspace, ref_id))
        except NotFound:
            return None

    async def of_blob(self, workspace: str, sha256: Sha256) -> tuple[ResolvedRef, ...]:
        """See the port."""
        return tuple(ref for ref in self.database.refs(workspace) if ref.ref.sha256 == sha256)[:_MANY]

    def _together(self, changes: Sequence[Change]) -> Iterator[RefOutcome]:
        began_at: dict[EntityKey, int] = {}
        now = self.database.now()
        for index, change in enumerate(changes):
            with operation(index):
                yield self._take(change, now, began_at)

    def _take(self, change: Change, now: datetime, began_at: dict[EntityKey, int]) -> RefOutcome:
        question, state = self._asked(change.question)
        version = began_at.setdefault(question.entity, state.version)
        decision = change.judge(replace(state, now=now, began_at=version))
        if decision.error is not None:
            raise _BatchRejected(question, decision, decision.error)
        return self._carry_out(question.entity, decision)

    def _asked(self, question: Question) -> tuple[RoleQuestion, RoleState]:
        """What the question is about, and what its judge gets to see. Raises `Gone`, `NotFound`."""
        if isinstance(question, RoleQuestion):
            return question, self._slot_state(question)
        named = self.database.ref(question.workspace, question.ref_id)
        place = RoleQuestion(named.entity, named.role, named.former_position, None)
        return place, replace(self._slot_state(place), named=named)

    def _slot_state(self, question: RoleQuestion) -> RoleState:
        entity, position = question.entity, question.position
        live = [] if question.role is None else self._live(entity, question.role)
        occupant = live[position] if position is not None and position < len(live) else None
        blob = None if question.sha256 is None else self.database.held(entity.workspace, question.sha256)
        refs = tuple(self._live(entity, question.role)) if question.whole else ()
        return RoleState(self.database.now(), self._state(entity).version, len(live), occupant, blob, refs=refs)

    def _state(self, entity: EntityKey) -> EntityState:
        return self.database.entities.get(entity, EntityState())

    def _live(self, entity: EntityKey, role: str | None) -> list[Ref]:
        state = self._state(entity)
        return [ref for name in (sorted(state.live) if role is None else [role]) for ref in state.live.get(name, ())]

    def _carry_out(self, entity: EntityKey, decision: Decision) -> RefOutcome:
        resolved = self.database.resolved
        event_ids = [self.database.record(event) for event in decision.events]
        return RefOutcome(
            decision.kind,
            entity,
            self._state(entity).version,
            None if decision.ref is None else resolved(decision.ref),
            None if decision.replaced is None else resolved(decision.replaced),
            event_ids[-1] if event_ids else None,
            None if decision.refs is None else tuple(resolved(ref) for ref in decision.refs),
        )


class _BatchRejected(RefkeepError):
    """Ends a batch whose changes must be undone before the reject of `decision` goes on record."""

    def __init__(self, question: RoleQuestion, decision: Decision, error: Rejected) -> None:
        super().__init__(str(error))
        self.question, self.decision, self.error = question, decision, error
