"""The object ledger in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from uuid_utils.compat import uuid7

from service.adapters.memory.database import MemoryDatabase, ObjectState
from service.domain.blob import Sha256
from service.ports.objects import Reservation


@dataclass(frozen=True, slots=True)
class MemoryObjects:
    """`ObjectLedger` in memory. Nothing collects here, so leases are not kept."""

    database: MemoryDatabase

    async def reserve(self, sha256: Sha256, size: int, lease: timedelta) -> Reservation:  # noqa: ARG002 - see above
        """See the port."""
        key = f"{sha256[:2]}/{sha256[2:4]}/{sha256}.{uuid7()}"
        reservation = Reservation(max(self.database.objects, default=0) + 1, key, sha256, size)
        self.database.objects[reservation.object_id] = reservation, ObjectState.PENDING
        return reservation

    async def condemn(self, reservation: Reservation) -> bool:
        """See the port."""
        _, state = self.database.objects.get(reservation.object_id, (reservation, ObjectState.CONDEMNED))
        if state is not ObjectState.PENDING:
            return False
        self.database.objects[reservation.object_id] = reservation, ObjectState.CONDEMNED
        return True

    async def forget(self, reservation: Reservation) -> None:
        """See the port."""
        if self.database.objects.get(reservation.object_id) == (reservation, ObjectState.CONDEMNED):
            del self.database.objects[reservation.object_id]
