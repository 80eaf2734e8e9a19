"""What must a workspace still send? What it holds stays for a while longer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.application.lifetimes import Lifetimes
from service.domain.blob import Sha256
from service.domain.event import Actor, HoldingEvent
from service.domain.holding_decision import HoldingState, decide_renewal
from service.observability import observed
from service.ports.blobs import BlobLedger


@dataclass(frozen=True, slots=True)
class FindMissing:
    """Tell which hashes the workspace does not hold, and renew the leases of the others."""

    blobs: BlobLedger
    lifetimes: Lifetimes

    @observed("blob.missing", layer="usecase")
    async def __call__(self, workspace: str, hashes: Sequence[Sha256], actor: Actor) -> list[Sha256]:
        """The missing ones, each once, in the order asked."""

        def judge(state: HoldingState) -> HoldingEvent | None:
            return decide_renewal(state, self.lifetimes.holding, actor)

        held = await self.blobs.renew(workspace, hashes, judge)
        return [sha256 for sha256 in dict.fromkeys(hashes) if sha256 not in held]
