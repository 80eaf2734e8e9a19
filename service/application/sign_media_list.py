"""The bytes of many refs for whoever has the addresses: a page of private pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from service.application.signing import SignedFile, Signer
from service.observability import observed
from service.ports.catalogue import Catalogue, MediaFilter


@dataclass(frozen=True, slots=True)
class SignMediaList:
    """Sign the files of refs of the workspace at once, all until the same time."""

    catalogue: Catalogue
    signer: Signer

    @observed("media.sign", layer="usecase")
    async def __call__(self, workspace: str, ref_ids: Sequence[UUID], lifetime: timedelta) -> list[SignedFile]:
        """One for each ref that is there, in the order asked, each once. Raises `SigningDisabled`."""
        wanted = tuple(dict.fromkeys(ref_ids))
        page = await self.catalogue.page(workspace, None, max(len(wanted), 1), MediaFilter(ref_ids=wanted))
        known = {found.ref.ref_id for found in page.items}
        return [self.signer.sign(ref_id, lifetime) for ref_id in wanted if ref_id in known]
