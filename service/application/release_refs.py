"""The refs of a role, or of an entity that is gone, go to the trash."""

from __future__ import annotations

from dataclasses import dataclass

from service.application.changes import Rules
from service.domain.arrangement import ReleaseAll
from service.observability import observed
from service.ports.idempotency import Claim, Replay
from service.ports.refs import RefLedger, RefOutcome


@dataclass(frozen=True, slots=True)
class ReleaseRefs:
    """Release every ref of a role or an entity; where none is left, nothing happens."""

    refs: RefLedger
    rules: Rules

    @observed("ref.release", layer="usecase")
    async def __call__(self, command: ReleaseAll, claim: Claim[RefOutcome] | None = None) -> RefOutcome | Replay:
        """The outcome, durable on return. Raises `VersionConflict`, and what the ledger raises."""
        change = self.rules.change(command)
        return await self.refs.change(change.question, change.judge, claim)
