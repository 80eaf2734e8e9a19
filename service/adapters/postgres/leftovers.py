"""Rows that were only needed for a while, on Postgres."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from service.adapters.postgres.database import Database
from service.observability import observed

_REFUSALS_KEPT = timedelta(hours=1)
"""Longer than the minute in which equal refusals are one event."""

_SWEEP = """
WITH answers AS (
    DELETE FROM idempotency WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM idempotency WHERE created_at <= (SELECT refkeep_now()) - $1::interval
        ORDER BY created_at LIMIT $3 FOR UPDATE SKIP LOCKED))
    RETURNING 1),
refusals AS (
    DELETE FROM rejections WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM rejections WHERE recorded_at <= (SELECT refkeep_now()) - $2::interval
        ORDER BY recorded_at LIMIT $3 FOR UPDATE SKIP LOCKED))
    RETURNING 1)
SELECT (SELECT count(*) FROM answers) + (SELECT count(*) FROM refusals) AS swept
"""


@dataclass(frozen=True, slots=True)
class PostgresLeftovers:
    """`Leftovers` on Postgres."""

    database: Database

    @observed("gc.sweep", layer="repo", span_name="DELETE idempotency")
    async def sweep_rows(self, answers_kept: timedelta, limit: int) -> int:
        """See the port."""
        row = await self.database.fetchrow(_SWEEP, answers_kept, _REFUSALS_KEPT, limit)
        return 0 if row is None else int(row["swept"])
