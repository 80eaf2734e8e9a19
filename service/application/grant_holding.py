"""An operator lets another workspace have bytes without sending them."""

from __future__ import annotations

from dataclasses import dataclass

from service.application.lifetimes import Lifetimes
from service.domain.blob import Sha256
from service.domain.event import Actor, HoldingEvent
from service.domain.holding_decision import HoldingState, decide_grant
from service.observability import observed
from service.ports.blobs import BlobLedger, BlobOutcome
from service.ports.idempotency import Claim, Replay


@dataclass(frozen=True, slots=True)
class GrantHolding:
    """Give a workspace a holding of a blob that exists."""

    blobs: BlobLedger
    lifetimes: Lifetimes

    @observed("holding.grant", layer="usecase")
    async def __call__(
        self, workspace: str, sha256: Sha256, actor: Actor, claim: Claim[BlobOutcome] | None = None
    ) -> BlobOutcome | Replay:
        """Insert, or a duplicate with a new lease. Raises `NotFound` without such a blob, `QuotaExceeded`."""

        def judge(state: HoldingState) -> HoldingEvent | None:
            return decide_grant(state, workspace, sha256, self.lifetimes.holding, actor)

        return await self.blobs.grant(workspace, sha256, judge, claim)
