"""A caller asks, before it sends the body, whether it must: bytes that its workspace holds need not come again."""

from __future__ import annotations

from dataclasses import dataclass

from service.application.lifetimes import Lifetimes
from service.domain.blob import Sha256
from service.domain.event import Actor, HoldingEvent
from service.domain.holding_decision import HoldingState, decide_renewal
from service.observability import observed
from service.ports.blobs import BlobLedger, BlobOutcome
from service.ports.idempotency import Claim, Replay


@dataclass(frozen=True, slots=True)
class ConfirmHolding:
    """Answer an upload of held bytes without its body: a duplicate, with a new lease."""

    blobs: BlobLedger
    lifetimes: Lifetimes

    @observed("blob.confirm", layer="usecase")
    async def __call__(
        self, workspace: str, sha256: Sha256, actor: Actor, claim: Claim[BlobOutcome] | None = None
    ) -> BlobOutcome | Replay | None:
        """The duplicate's outcome, None where the bytes must come. `claim` is the upload's own."""

        def judge(state: HoldingState) -> HoldingEvent | None:
            return decide_renewal(state, self.lifetimes.holding, actor, always=True)

        about = None if claim is None else claim.about(sha256)
        return (await self.blobs.renew(workspace, [sha256], judge, about)).get(sha256)
