"""A ref goes to the trash."""

from __future__ import annotations

from dataclasses import dataclass

from service.application.lifetimes import Lifetimes
from service.domain.decision import Decision, Release, RoleState, decide_release
from service.domain.policy import Policies
from service.observability import observed
from service.ports.idempotency import Claim, Replay
from service.ports.refs import RefLedger, RefOutcome, RoleQuestion


@dataclass(frozen=True, slots=True)
class ReleaseSlot:
    """Release the ref of a slot; an empty slot stays empty."""

    refs: RefLedger
    policies: Policies
    lifetimes: Lifetimes

    @observed("ref.release", layer="usecase")
    async def __call__(self, command: Release, claim: Claim[RefOutcome] | None = None) -> RefOutcome | Replay:
        """The outcome, durable on return.

        Raises `VersionConflict`, `PreconditionRequired`, and what the ledger raises.
        """

        def judge(state: RoleState) -> Decision:
            return decide_release(state, command, self.policies, self.lifetimes.trash)

        question = RoleQuestion(command.entity, command.role, command.position, None)
        return await self.refs.change(question, judge, claim)
