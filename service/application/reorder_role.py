"""The refs of a role change places."""

from __future__ import annotations

from dataclasses import dataclass

from service.application.changes import Rules
from service.domain.arrangement import Reorder
from service.observability import observed
from service.ports.idempotency import Claim, Replay
from service.ports.refs import RefLedger, RefOutcome


@dataclass(frozen=True, slots=True)
class ReorderRole:
    """Put the live refs of a role in another order."""

    refs: RefLedger
    rules: Rules

    @observed("ref.reorder", layer="usecase")
    async def __call__(self, command: Reorder, claim: Claim[RefOutcome] | None = None) -> RefOutcome | Replay:
        """The outcome, durable on return.

        Raises `NotAPermutation`, `VersionConflict`, `PreconditionRequired`, and what the ledger raises.
        """
        change = self.rules.change(command)
        return await self.refs.change(change.question, change.judge, claim)
