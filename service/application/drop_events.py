"""The end of old events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from service.domain.replay import retell
from service.ports.archive import Checkpoints, Dropped

BATCH = 1000
"""Events of one transaction, which holds the feed back for as long as it takes: a tenth of a second or so."""


@dataclass(frozen=True, slots=True)
class DropEvents:
    """Take events into the checkpoint and drop them, batch by batch: whatever stops it, log and checkpoint agree."""

    checkpoints: Checkpoints

    async def __call__(self, before: str | datetime, batch: int = BATCH) -> AsyncIterator[Dropped]:
        """What was dropped, batch by batch. Raises `BadCursor`, `BrokenStory`, `Unavailable`."""
        more = True
        while more:
            dropped = await self.checkpoints.drop(before, batch, retell)
            more = dropped.more
            yield dropped
