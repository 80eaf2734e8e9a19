"""The sentinel's id on Postgres."""

from __future__ import annotations

from dataclasses import dataclass

from service.adapters.postgres.database import Database
from service.ports.sentinel import Sentinel


@dataclass(frozen=True, slots=True)
class PostgresSentinel:
    """`SentinelLedger` on Postgres."""

    database: Database

    async def expected(self) -> Sentinel:
        """See the port."""
        row = await self.database.fetchrow("SELECT id, placed_at IS NOT NULL AS placed FROM sentinel")
        if row is None:
            raise RuntimeError("the schema is made with its sentinel")
        return Sentinel(str(row["id"]), row["placed"])

    async def note_placed(self) -> None:
        """See the port."""
        await self.database.fetch("UPDATE sentinel SET placed_at = refkeep_now() WHERE placed_at IS NULL")
