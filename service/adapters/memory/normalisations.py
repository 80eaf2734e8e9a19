"""What a workspace's pictures became, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.adapters.memory.database import MemoryDatabase
from service.domain.blob import Sha256


@dataclass(frozen=True, slots=True)
class MemoryNormalisations:
    """`Normalisations` in memory."""

    database: MemoryDatabase
    _known: dict[tuple[str, Sha256, str], Sha256] = field(default_factory=dict)

    async def recall(self, workspace: str, sha256: Sha256, definition: str) -> Sha256 | None:
        """See the port."""
        self.database.workspace(workspace)
        result = self._known.get((workspace, sha256, definition))
        if result is None or not self._holds(workspace, sha256, result):
            self._known.pop((workspace, sha256, definition), None)
            return None
        return result

    async def remember(self, workspace: str, sha256: Sha256, definition: str, result: Sha256) -> None:
        """See the port."""
        self.database.workspace(workspace)
        if self._holds(workspace, sha256, result):
            self._known[workspace, sha256, definition] = result

    def _holds(self, workspace: str, *hashes: Sha256) -> bool:
        return all((workspace, sha256) in self.database.holdings for sha256 in hashes)
