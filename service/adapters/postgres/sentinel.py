"""The sentinel's id and the fence's generation on Postgres."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from service.adapters.postgres.database import Database
from service.ports.sentinel import Sentinel

_LAGS_AFTER = timedelta(minutes=1)

_EXPECTED = """
SELECT id::text, placed_at IS NOT NULL AS placed, generation,
    advanced_at IS NULL OR advanced_at <= refkeep_now() - $1::interval AS lags,
    home <> refkeep_home() AS moved, coalesce(rests_until > refkeep_now(), false) AS rests
FROM sentinel
"""
_ADVANCE = "UPDATE sentinel SET generation = generation + 1, advanced_at = refkeep_now() RETURNING generation"
_SETTLE = """
UPDATE sentinel SET generation = greatest(generation, $1) + 1, advanced_at = refkeep_now(), home = refkeep_home(),
    rests_until = greatest(rests_until, refkeep_now() + $2::interval)
RETURNING generation
"""


@dataclass(frozen=True, slots=True)
class PostgresSentinel:
    """`SentinelLedger` on Postgres."""

    database: Database

    async def expected(self) -> Sentinel:
        """See the port."""
        row = await self.database.fetchrow(_EXPECTED, _LAGS_AFTER)
        if row is None:
            raise RuntimeError("the schema is made with its sentinel")
        return Sentinel(*row)

    async def note_placed(self) -> None:
        """See the port."""
        await self.database.fetch("UPDATE sentinel SET placed_at = refkeep_now() WHERE placed_at IS NULL")

    async def advance(self) -> int:
        """See the port."""
        return await self._generation(_ADVANCE)

    async def settle(self, at_least: int, rest: timedelta) -> int:
        """See the port."""
        return await self._generation(_SETTLE, at_least, rest)

    async def _generation(self, query: str, *parameters: object) -> int:
        row = await self.database.fetchrow(query, *parameters)
        return 0 if row is None else int(row["generation"])
