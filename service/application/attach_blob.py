"""A ref fills a slot with a blob that the workspace holds."""

from __future__ import annotations

from dataclasses import dataclass

from service.application.changes import Rules
from service.application.normalise import Normalise
from service.domain.decision import Attach
from service.observability import observed
from service.ports.idempotency import Claim, Replay
from service.ports.refs import RefLedger, RefOutcome


@dataclass(frozen=True, slots=True)
class AttachBlob:
    """Insert, replace, update or leave as it is; or refuse, on the record."""

    refs: RefLedger
    rules: Rules
    normalise: Normalise

    @observed("ref.attach", layer="usecase")
    async def __call__(self, command: Attach, claim: Claim[RefOutcome] | None = None) -> RefOutcome | Replay:
        """The outcome, durable on return.

        A picture is made to comply with its policy first. Raises the `Rejected` of the decision, `VersionConflict`,
        `PreconditionRequired`, and what the ledger, the renderer and an upload raise.
        """
        prepared = await self.normalise.attach(command, claim)
        if isinstance(prepared, Replay):
            return prepared
        change = self.rules.change(prepared)
        return await self.refs.change(change.question, change.judge, claim)
