"""The end of refs whose time in the trash is over."""

from __future__ import annotations

from dataclasses import dataclass

from service.domain.decision import Decision, RoleState
from service.domain.event import Actor
from service.domain.lifecycle import decide_expiry
from service.observability import observed
from service.ports.trash import Trash

ACTOR = Actor("trash")


@dataclass(frozen=True, slots=True)
class PurgeDue:
    """Purge what is due, and forget what was purged long ago, a batch at a time."""

    trash: Trash

    @observed("trash.purge", layer="usecase")
    async def __call__(self, limit: int) -> int:
        """How many refs were purged, at most `limit`; call again at once while it is `limit`.

        Any number may run at the same time, on any replica.
        """
        await self.trash.forget_tombstones(limit)
        return await self.trash.purge_due(limit, _judge)


def _judge(state: RoleState) -> Decision:
    return decide_expiry(state, ACTOR)
