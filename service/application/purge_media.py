"""The end of a ref, by hand."""

from __future__ import annotations

from dataclasses import dataclass

from service.application.changes import Rules
from service.domain.lifecycle import Purge
from service.observability import observed
from service.ports.idempotency import Claim, Replay
from service.ports.refs import RefLedger, RefOutcome


@dataclass(frozen=True, slots=True)
class PurgeMedia:
    """Purge a trashed ref before its time."""

    refs: RefLedger
    rules: Rules

    @observed("media.purge", layer="usecase")
    async def __call__(self, command: Purge, claim: Claim[RefOutcome] | None = None) -> RefOutcome | Replay:
        """The outcome, durable on return.

        Raises `NotFound`, `Gone`, `NotTrashed`, `VersionConflict`, and what the ledger raises.
        """
        change = self.rules.change(command)
        return await self.refs.change(change.question, change.judge, claim)
