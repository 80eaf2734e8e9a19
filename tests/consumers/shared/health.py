"""What operators of the service look at."""

from __future__ import annotations

from typing import Any

from tests.consumers.shared.database import Pool
from tests.consumers.shared.follower import Follower

_OUTBOX = "SELECT count(*) FILTER (WHERE parked IS NULL) AS waiting, count(parked) AS parked FROM outbox"


async def health_of(pool: Pool, follower: Follower) -> dict[str, Any]:
    """How far the feed was read, and what Refkeep has not heard yet; what is parked needs somebody."""
    outbox = await pool.fetchrow(_OUTBOX)
    cursor = await pool.fetchval("SELECT cursor FROM feed")
    return {"feed": {"cursor": cursor, "caught_up": follower.caught_up}, "outbox": dict(outbox or {})}
