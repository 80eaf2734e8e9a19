"""A ref says other words, or shows itself to others."""

from __future__ import annotations

from dataclasses import dataclass

from service.application.changes import Rules
from service.domain.lifecycle import Revise
from service.observability import observed
from service.ports.idempotency import Claim, Replay
from service.ports.refs import RefLedger, RefOutcome


@dataclass(frozen=True, slots=True)
class ReviseMedia:
    """Change labels and visibility of a live ref."""

    refs: RefLedger
    rules: Rules

    @observed("media.update", layer="usecase")
    async def __call__(self, command: Revise, claim: Claim[RefOutcome] | None = None) -> RefOutcome | Replay:
        """The outcome, durable on return.

        Raises `NotFound`, `Gone`, the `Rejected` of the decision, `VersionConflict`, and what the ledger raises.
        """
        change = self.rules.change(command)
        return await self.refs.change(change.question, change.judge, claim)
