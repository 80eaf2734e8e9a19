"""One ref's bytes for whoever has the address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from service.application.signing import SignedFile, Signer
from service.domain.errors import NotFound
from service.observability import observed
from service.ports.refs import RefLedger


@dataclass(frozen=True, slots=True)
class SignMedia:
    """Sign the file of a ref of the workspace, live or in the trash: there it shows nothing until it is restored."""

    refs: RefLedger
    signer: Signer

    @observed("media.sign", layer="usecase")
    async def __call__(self, workspace: str, ref_id: UUID, lifetime: timedelta) -> SignedFile:
        """Raises `NotFound`, also for another workspace's ref, `Gone`, `SigningDisabled`."""
        if await self.refs.find(workspace, ref_id) is None:
            raise NotFound("There is no such media here.")
        return self.signer.sign(ref_id, lifetime)
