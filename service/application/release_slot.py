"""A ref goes to the trash."""

from __future__ import annotations

from dataclasses import dataclass

from service.application.changes import Rules
from service.domain.decision import Release
from service.observability import observed
from service.ports.idempotency import Claim, Replay
from service.ports.refs import RefLedger, RefOutcome


@dataclass(frozen=True, slots=True)
class ReleaseSlot:
    """Release the ref of a slot; an empty slot stays empty."""

    refs: RefLedger
    rules: Rules

    @observed("ref.release", layer="usecase")
    async def __call__(self, command: Release, claim: Claim[RefOutcome] | None = None) -> RefOutcome | Replay:
        """The outcome, durable on return.

        Raises `VersionConflict`, `PreconditionRequired`, and what the ledger raises.
        """
        change = self.rules.change(command)
        return await self.refs.change(change.question, change.judge, claim)
