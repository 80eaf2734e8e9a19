"""How long things stay in this world: seconds, where a deployment has days."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lifetimes:
    """Seconds. What a client does with an acknowledged upload comes well within `holding`, or it looks again."""

    holding: float = 12.0
    trash: float = 8.0
    quarantine: float = 2.0
    upload: float = 20.0
    between_rounds: float = 1.0

    def settings(self) -> dict[str, str]:
        """The same for the service."""
        return {
            "ORPHAN_RETENTION": f"{self.holding:g}s",
            "TRASH_RETENTION": f"{self.trash:g}s",
            "QUARANTINE": f"{self.quarantine:g}s",
            "UPLOAD_LEASE": f"{self.upload:g}s",
            "GC_INTERVAL": f"{self.between_rounds:g}s",
        }
