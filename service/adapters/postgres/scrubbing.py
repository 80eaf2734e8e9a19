"""Which objects were not read for the longest time, on Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.adapters.postgres.database import Database
from service.adapters.postgres.integrity import KNOWN, to_known
from service.observability import observed
from service.ports.integrity import KnownObject

# A claimed object stays where it is in the index: only its check moves it.
_DUE = """SELECT id FROM objects
WHERE state = 'live' AND checked_at < $1 AND coalesce(scrub_until <= (SELECT refkeep_now()), true)
ORDER BY checked_at, id LIMIT $2 FOR UPDATE SKIP LOCKED"""
_CLAIM = "UPDATE objects SET scrub_until = refkeep_now() + $2::interval WHERE id = ANY ($1)"
_CLAIMED = f"{KNOWN} WHERE o.id = ANY ($1) ORDER BY o.checked_at, o.id"
_LEFT = """SELECT count(*) FROM (
    SELECT FROM objects WHERE state = 'live' AND checked_at < $1 LIMIT 100000) AS unchecked"""


@dataclass(frozen=True, slots=True)
class PostgresScrubbing:
    """`Scrubbing` on Postgres."""

    database: Database

    @observed("scrub.claim", layer="repo", span_name="UPDATE objects")
    async def claim(self, before: datetime, limit: int, claim_for: timedelta) -> Sequence[KnownObject]:
        """See the port."""
        async with self.database.locked(()) as connection:
            due = [row["id"] for row in await connection.fetch(_DUE, before, limit)]
            await connection.execute(_CLAIM, due, claim_for)
            return [to_known(row) for row in await connection.fetch(_CLAIMED, due)]

    @observed("scrub.check", layer="repo", span_name="UPDATE objects")
    async def note_checked(self, found: KnownObject) -> None:
        """See the port."""
        await self.database.fetch(
            "UPDATE objects SET checked_at = refkeep_now(), scrub_until = NULL WHERE id = $1", found.object_id
        )

    @observed("scrub.release", layer="repo", span_name="UPDATE objects")
    async def release(self, claimed: Sequence[KnownObject]) -> None:
        """See the port."""
        ids = sorted(found.object_id for found in claimed)
        await self.database.fetch("UPDATE objects SET scrub_until = NULL WHERE id = ANY ($1)", ids)

    async def left(self, before: datetime) -> int:
        """See the port."""
        rows = await self.database.fetch(_LEFT, before)
        return int(rows[0]["count"])
