"""Why bytes are still there, and when that is looked at again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from service.domain.blob import Sha256
from service.domain.errors import NotFound
from service.observability import observed
from service.ports.reasons import BlobReasons, Reason, Reasons


@dataclass(frozen=True, slots=True)
class ExplainBlob:
    """Every reason, of one workspace or of all; `ends` says when a rendition may go."""

    reasons: Reasons
    ends: Callable[[str, datetime], datetime | None]

    @observed("blob.why", layer="usecase")
    async def __call__(self, sha256: Sha256, workspace: str | None) -> BlobReasons:
        """Raises `NotFound`: unknown and not possessed look the same."""
        found = await self.reasons.of_blob(sha256, workspace)
        if found is None:
            raise NotFound("This workspace holds no such blob.")
        return replace(found, reasons=tuple(self._dated(reason) for reason in found.reasons))

    def _dated(self, reason: Reason) -> Reason:
        if reason.definition is None:
            return reason
        return replace(reason, until=self.ends(reason.definition, reason.since))
