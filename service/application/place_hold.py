"""An operator puts bytes on hold."""

from __future__ import annotations

from dataclasses import dataclass

from service.domain.event import HoldEvent
from service.domain.hold_decision import HoldState, decide_place
from service.domain.hold_decision import PlaceHold as Command
from service.observability import observed
from service.ports.holds import HoldLedger, HoldOutcome
from service.ports.idempotency import Claim, Replay


@dataclass(frozen=True, slots=True)
class PlaceHold:
    """Place a hold, or change the one that stands."""

    holds: HoldLedger

    @observed("hold.put", layer="usecase")
    async def __call__(self, command: Command, claim: Claim[HoldOutcome] | None = None) -> HoldOutcome | Replay:
        """Insert, update or noop, durable on return; bytes that nobody has sent can be held as well."""

        def judge(state: HoldState) -> HoldEvent | None:
            return decide_place(state, command)

        return await self.holds.change(command.sha256, judge, claim)
