"""A ref comes back from the trash."""

from __future__ import annotations

from dataclasses import dataclass

from service.application.changes import Rules
from service.domain.lifecycle import Restore
from service.observability import observed
from service.ports.idempotency import Claim, Replay
from service.ports.refs import RefLedger, RefOutcome


@dataclass(frozen=True, slots=True)
class RestoreMedia:
    """Bring a ref back to its place; a live one stays where it is."""

    refs: RefLedger
    rules: Rules

    @observed("media.restore", layer="usecase")
    async def __call__(self, command: Restore, claim: Claim[RefOutcome] | None = None) -> RefOutcome | Replay:
        """The outcome, durable on return.

        Raises `NotFound`, `Gone`, the `Rejected` of the decision, `VersionConflict`, and what the ledger raises.
        """
        change = self.rules.change(command)
        return await self.refs.change(change.question, change.judge, claim)
