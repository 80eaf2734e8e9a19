"""A workspace gives up bytes that it sent, a cancelled upload for instance."""

from __future__ import annotations

from dataclasses import dataclass

from service.domain.blob import Sha256
from service.domain.event import Actor
from service.observability import observed
from service.ports.blobs import BlobLedger
from service.ports.idempotency import Claim, Replay


@dataclass(frozen=True, slots=True)
class GiveUpHolding:
    """End the workspace's holding of a blob."""

    blobs: BlobLedger

    @observed("blob.release", layer="usecase")
    async def __call__(
        self, workspace: str, sha256: Sha256, actor: Actor, claim: Claim[str] | None = None
    ) -> str | Replay:
        """The event's id. Raises `NotFound` without a holding, `BlobInUse` while refs of the workspace need it."""
        return await self.blobs.release(workspace, sha256, actor, claim)
