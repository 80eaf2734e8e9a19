"""An operator lets bytes go again."""

from __future__ import annotations

from dataclasses import dataclass

from service.domain.blob import Sha256
from service.domain.event import Actor, HoldEvent
from service.domain.hold_decision import HoldState, decide_lift
from service.observability import observed
from service.ports.holds import HoldLedger, HoldOutcome
from service.ports.idempotency import Claim, Replay


@dataclass(frozen=True, slots=True)
class LiftHold:
    """End a hold: what is still needed is served as before, everything else is reviewed anew."""

    holds: HoldLedger

    @observed("hold.delete", layer="usecase")
    async def __call__(
        self, sha256: Sha256, actor: Actor, claim: Claim[HoldOutcome] | None = None
    ) -> HoldOutcome | Replay:
        """The hold as it was. Raises `NotFound`."""

        def judge(state: HoldState) -> HoldEvent:
            return decide_lift(state, actor)

        return await self.holds.change(sha256, judge, claim)
