"""The object ledger on Postgres."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from uuid_utils.compat import uuid7

from service.adapters.postgres.database import Database
from service.domain.blob import Sha256
from service.observability import observed
from service.ports.objects import Reservation

# The commit of a reservation need not be durable: losing it leaves an object without a row, which is always garbage.
_RESERVE = """
WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
INSERT INTO objects (key, sha256, size, lease_until)
SELECT $1, $2, $3, refkeep_now() + $4::interval FROM quick
RETURNING id
"""


@dataclass(frozen=True, slots=True)
class PostgresObjects:
    """`ObjectLedger` on Postgres."""

    database: Database

    @observed("objects.reserve", layer="repo", span_name="INSERT objects")
    async def reserve(self, sha256: Sha256, size: int, lease: timedelta) -> Reservation:
        """See the port."""
        key = f"{sha256[:2]}/{sha256[2:4]}/{sha256}.{uuid7()}"
        row = await self.database.fetchrow(_RESERVE, key, bytes.fromhex(sha256), size, lease)
        if row is None:
            raise RuntimeError("an INSERT without a row")
        return Reservation(row["id"], key, sha256, size)

    @observed("objects.condemn", layer="repo", span_name="UPDATE objects")
    async def condemn(self, reservation: Reservation) -> bool:
        """See the port."""
        row = await self.database.fetchrow(
            """UPDATE objects SET state = 'condemned', delete_after = lease_until
            WHERE id = $1 AND state = 'pending' RETURNING 1""",
            reservation.object_id,
        )
        return row is not None

    @observed("objects.forget", layer="repo", span_name="DELETE objects")
    async def forget(self, reservation: Reservation) -> None:
        """See the port."""
        await self.database.fetch("DELETE FROM objects WHERE id = $1 AND state = 'condemned'", reservation.object_id)
