"""A ref goes to the trash, wherever it stands."""

from __future__ import annotations

from dataclasses import dataclass

from service.application.changes import Rules
from service.domain.lifecycle import ReleaseRef
from service.observability import observed
from service.ports.idempotency import Claim, Replay
from service.ports.refs import RefLedger, RefOutcome


@dataclass(frozen=True, slots=True)
class ReleaseMedia:
    """Release a ref by its id; one in the trash stays there."""

    refs: RefLedger
    rules: Rules

    @observed("media.release", layer="usecase")
    async def __call__(self, command: ReleaseRef, claim: Claim[RefOutcome] | None = None) -> RefOutcome | Replay:
        """The outcome, durable on return.

        Raises `NotFound`, `Gone`, `VersionConflict`, and what the ledger raises.
        """
        change = self.rules.change(command)
        return await self.refs.change(change.question, change.judge, claim)
