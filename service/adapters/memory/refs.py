"""The ref ledger in memory."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from service.adapters.memory.database import MemoryDatabase
from service.domain.blob import Sha256
from service.domain.decision import Decision, RoleState
from service.domain.event import EntityState
from service.domain.ref import ResolvedRef
from service.domain.slot import EntityKey
from service.ports.idempotency import Claim, Replay
from service.ports.refs import EntityRefs, RefOutcome, RoleJudge, RoleQuestion

_MANY = 500


@dataclass(frozen=True, slots=True)
class MemoryRefs:
    """`RefLedger` in memory."""

    database: MemoryDatabase

    async def change(
        self, question: RoleQuestion, judge: RoleJudge, claim: Claim[RefOutcome] | None = None
    ) -> RefOutcome | Replay:
        """See the port."""
        workspace = question.entity.workspace
        self.database.workspace(workspace)
        if (replay := self.database.replay(workspace, claim)) is not None:
            return replay
        decision = judge(self._role_state(question))
        event_id = None if decision.event is None else self.database.record(decision.event)
        if decision.error is not None:
            raise decision.error
        outcome = self._outcome(question.entity, decision, event_id)
        self.database.answer(workspace, claim, outcome)
        return outcome

    async def rehearse(
        self, question: RoleQuestion, judge: RoleJudge, claim: Claim[RefOutcome] | None = None
    ) -> Replay | None:
        """See the port."""
        workspace = question.entity.workspace
        self.database.workspace(workspace)
        if (replay := self.database.replay(workspace, claim)) is not None:
            return replay
        decision = judge(self._role_state(question))
        if decision.error is not None and decision.event is not None:
            self.database.record(decision.event)
            raise decision.error
        return None

    async def of_entity(
        self, entity: EntityKey, role: str | None = None, after: tuple[str, int] = ("", 0), limit: int = 500
    ) -> EntityRefs:
        """See the port."""
        state = self._state(entity)
        roles = sorted(state.live) if role is None else [role]
        places = {(name, place): ref for name in roles for place, ref in enumerate(state.live.get(name, ()))}
        refs = tuple(self.database.resolved(ref) for place, ref in places.items() if place > after)
        return EntityRefs(state.version, refs[:limit], len(refs) > limit)

    async def find(self, workspace: str, ref_id: UUID) -> ResolvedRef | None:
        """See the port."""
        return next((ref for ref in self.database.refs(workspace) if ref.ref.ref_id == ref_id), None)

    async def of_blob(self, workspace: str, sha256: Sha256) -> tuple[ResolvedRef, ...]:
        """See the port."""
        return tuple(ref for ref in self.database.refs(workspace) if ref.ref.sha256 == sha256)[:_MANY]

    def _state(self, entity: EntityKey) -> EntityState:
        return self.database.entities.get(entity, EntityState())

    def _role_state(self, question: RoleQuestion) -> RoleState:
        state, sha256, position = self._state(question.entity), question.sha256, question.position
        live = state.live.get(question.role, ())
        occupant = live[position] if position is not None and position < len(live) else None
        blob = None if sha256 is None else self.database.held(question.entity.workspace, sha256)
        return RoleState(self.database.now(), state.version, len(live), occupant, blob)

    def _outcome(self, entity: EntityKey, decision: Decision, event_id: str | None) -> RefOutcome:
        ref = None if decision.ref is None else self.database.resolved(decision.ref)
        replaced = None if decision.replaced is None else self.database.resolved(decision.replaced)
        return RefOutcome(decision.kind, entity, self._state(entity).version, ref, replaced, event_id)
