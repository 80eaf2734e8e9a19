"""Why bytes are still there, and when that is looked at again."""

from __future__ import annotations

from dataclasses import dataclass

from service.domain.blob import Sha256
from service.domain.errors import NotFound
from service.observability import observed
from service.ports.reasons import BlobReasons, Reasons


@dataclass(frozen=True, slots=True)
class ExplainBlob:
    """Every reason, of one workspace or of all."""

    reasons: Reasons

    @observed("blob.why", layer="usecase")
    async def __call__(self, sha256: Sha256, workspace: str | None) -> BlobReasons:
        """Raises `NotFound`: unknown and not possessed look the same."""
        found = await self.reasons.of_blob(sha256, workspace)
        if found is None:
            raise NotFound("This workspace holds no such blob.")
        return found
