"""The end of the trash in memory."""

from __future__ import annotations

from dataclasses import dataclass

from service.adapters.memory.database import MemoryDatabase
from service.domain.decision import RoleState
from service.domain.ref import Ref
from service.ports.refs import RoleJudge
from service.ports.trash import TOMBSTONE


@dataclass(frozen=True, slots=True)
class MemoryTrash:
    """`Trash` in memory."""

    database: MemoryDatabase

    async def purge_due(self, limit: int, judge: RoleJudge) -> int:
        """See the port."""
        return sum(self._judge(ref, judge) for ref in self._due()[:limit])

    async def forget_tombstones(self, limit: int) -> int:
        """See the port."""
        now, tombstones = self.database.now(), self.database.tombstones
        old = [ref_id for ref_id, (_, purged_at) in tombstones.items() if now - purged_at >= TOMBSTONE][:limit]
        for ref_id in old:
            del tombstones[ref_id]
        return len(old)

    def _due(self) -> list[Ref]:
        now = self.database.now()
        trashed = [ref for state in self.database.entities.values() for ref in state.trashed]
        due = [(ref.purge_after, ref.ref_id, ref) for ref in trashed if ref.purge_after and ref.purge_after <= now]
        return [ref for _, _, ref in sorted(due, key=lambda item: item[:2])]

    def _judge(self, ref: Ref, judge: RoleJudge) -> int:
        version = self.database.entities[ref.entity].version
        events = judge(RoleState(self.database.now(), version, 0, None, None, ref)).events
        for event in events:
            self.database.record(event)
        return len(events)
