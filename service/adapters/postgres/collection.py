"""The collector on Postgres. READ COMMITTED: locks first, then a new statement, which sees what came before them."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from functools import partial

import asyncpg

from service.adapters.postgres.database import Connection, Database, Row
from service.adapters.postgres.errors import LockTimeout
from service.adapters.postgres.locks import lock_of
from service.adapters.postgres.log import INSERT_EVENT, PLACE, event_columns, event_place
from service.adapters.postgres.plan import PLAN, to_plan
from service.adapters.postgres.rows import to_holding
from service.domain.blob import Sha256
from service.domain.collection import BlobReview, HoldingReview
from service.observability import observe, observed
from service.ports.collection import (
    Amount,
    Backlog,
    BlobReviewJudge,
    Condemned,
    HoldingReviewJudge,
    Plan,
    Reviewed,
)

# The clock is asked in a subquery: a volatile function beside a column would keep the index from being used.
_DUE = """
SELECT r.*, b.sha256, b.size FROM {queue} r LEFT JOIN blobs b ON b.id = r.blob_id
WHERE r.due <= (SELECT refkeep_now()) ORDER BY r.due LIMIT $1
"""
_TAKE = "SELECT FROM {queue} WHERE id = $1 FOR UPDATE SKIP LOCKED"
_POSTPONE = "UPDATE {queue} SET due = refkeep_now() + interval '1 hour' WHERE id = $1"
_LOOK_AT_HOLDING = f"""
SELECT refkeep_now() AS now, {PLACE}, w.slug, b.sha256, b.size, h.acquired_at, h.lease_until,
    EXISTS (SELECT FROM refs r WHERE r.workspace_id = w.id AND r.blob_id = b.id)
        OR EXISTS (SELECT FROM refs r WHERE r.workspace_id = w.id AND r.original_blob_id = b.id) AS used,
    EXISTS (SELECT FROM holds WHERE holds.blob_id = b.id) AS on_hold
FROM workspaces w CROSS JOIN blobs b LEFT JOIN holdings h ON h.workspace_id = w.id AND h.blob_id = b.id
WHERE w.id = $1 AND b.id = $2
"""
_RELEASE = f"""
WITH event AS ({INSERT_EVENT} VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)),
review AS (DELETE FROM holding_reviews WHERE id = $13),
quota AS (UPDATE workspaces SET used_bytes = used_bytes - $15, used_items = used_items - 1 WHERE id = $7)
DELETE FROM holdings WHERE workspace_id = $7 AND blob_id = $14
"""
_LOOK_AT_BLOB = """
SELECT refkeep_now() AS now, EXISTS (SELECT FROM holdings WHERE blob_id = $1) AS held,
    EXISTS (SELECT FROM renditions WHERE blob_id = $1) AS shown,
    EXISTS (SELECT FROM holds WHERE blob_id = $1) AS on_hold
"""
_MAKE_BARREN = "DELETE FROM renditions WHERE parent_id = $1"
_CONDEMN = """
WITH review AS (DELETE FROM blob_reviews WHERE id = $1),
blob AS (DELETE FROM blobs WHERE id = $2 RETURNING object_id)
UPDATE objects SET state = 'condemned', delete_after = $3 FROM blob WHERE objects.id = blob.object_id
"""
_CONDEMN_ABANDONED = """
UPDATE objects SET state = 'condemned', delete_after = refkeep_now()
WHERE id IN (
    SELECT id FROM objects WHERE state = 'pending' AND lease_until <= (SELECT refkeep_now())
    ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING size
"""
_LOCK_DUE = """
SELECT id FROM objects o WHERE state = 'condemned' AND delete_after <= (SELECT refkeep_now())
    AND NOT EXISTS (SELECT FROM holds WHERE holds.sha256 = o.sha256)
ORDER BY delete_after LIMIT $1 FOR UPDATE OF o SKIP LOCKED
"""
_CLAIM = """
UPDATE objects o SET delete_after = refkeep_now() + $2
WHERE id = ANY ($1) AND NOT EXISTS (SELECT FROM holds WHERE holds.sha256 = o.sha256)
RETURNING id, key, sha256, size
"""
_BACKLOG = """
WITH clock AS MATERIALIZED (SELECT refkeep_now() AS now),
reviews AS (
    SELECT due FROM holding_reviews WHERE due <= (SELECT now FROM clock)
    UNION ALL SELECT due FROM blob_reviews WHERE due <= (SELECT now FROM clock) LIMIT 100000),
uploads AS (
    SELECT lease_until AS due FROM objects
    WHERE state = 'pending' AND lease_until <= (SELECT now FROM clock) LIMIT 100000),
condemned AS (
    SELECT delete_after AS due FROM objects o
    WHERE state = 'condemned' AND delete_after <= (SELECT now FROM clock)
        AND NOT EXISTS (SELECT FROM holds WHERE holds.sha256 = o.sha256) LIMIT 100000)
SELECT (SELECT count(*) FROM reviews) AS reviews, (SELECT count(*) FROM uploads) AS uploads,
    (SELECT count(*) FROM condemned) AS condemned,
    (SELECT min(due) FROM (TABLE reviews UNION ALL TABLE uploads UNION ALL TABLE condemned) AS all_due) AS oldest
"""


class _Fate(Enum):
    """What became of one review."""

    SETTLED = auto()
    BUSY = auto()
    GONE = auto()


_Turn = Callable[[Connection, Row], Awaitable[_Fate]]


@dataclass(frozen=True, slots=True)
class PostgresCollection:
    """`Collection` on Postgres."""

    database: Database

    @observed("gc.review", layer="repo", span_name="WRITE reviews")
    async def review(self, limit: int, judge_holding: HoldingReviewJudge, judge_blob: BlobReviewJudge) -> Reviewed:
        """See the port. Holdings come first: a blob that loses its last one is due in the same turn."""
        holdings = await self._reviews("holding_reviews", limit, partial(_review_holding, judge_holding))
        blobs = await self._reviews("blob_reviews", limit, partial(_review_blob, judge_blob))
        fates = [fate for fate, _ in holdings + blobs]
        return Reviewed(len(fates), fates.count(_Fate.BUSY), _gone(holdings), _gone(blobs))

    @observed("gc.condemn", layer="repo", span_name="UPDATE objects")
    async def condemn_abandoned(self, limit: int) -> Amount:
        """See the port. A publication that has begun holds its object's lock, and is skipped."""
        rows = await self.database.fetch(_CONDEMN_ABANDONED, limit)
        return Amount(len(rows), sum(row["size"] for row in rows))

    @observed("gc.claim", layer="repo", span_name="UPDATE objects")
    async def claim(self, limit: int, claim_for: timedelta) -> Sequence[Condemned]:
        """See the port. A claim is a later `delete_after`, so that it ends by itself."""
        async with self.database.locked(()) as connection:
            due = [row["id"] for row in await connection.fetch(_LOCK_DUE, limit)]
            rows = await connection.fetch(_CLAIM, due, claim_for)
        return [Condemned(row["id"], row["key"], Sha256(row["sha256"].hex()), row["size"]) for row in rows]

    @observed("gc.forget", layer="repo", span_name="DELETE objects")
    async def forget(self, object_ids: Sequence[int]) -> None:
        """See the port."""
        await self.database.fetch("DELETE FROM objects WHERE id = ANY ($1) AND state = 'condemned'", sorted(object_ids))

    @observed("gc.backlog", layer="repo", span_name="SELECT reviews")
    async def backlog(self) -> Backlog:
        """See the port."""
        row = await self.database.fetchrow(_BACKLOG)
        if row is None:
            raise RuntimeError("a sum without a row")
        return Backlog(row["reviews"], row["uploads"], row["condemned"], row["oldest"])

    @observed("gc.plan", layer="repo", span_name="SELECT objects")
    async def plan(self, current: Set[str], min_age: timedelta) -> Plan:
        """See the port."""
        [row] = await self.database.survey(PLAN, sorted(current), min_age)
        return to_plan(row)

    async def _reviews(self, queue: str, limit: int, turn: _Turn) -> list[tuple[_Fate, int]]:
        """The fate of each due review and the size of its blob, in an order of this replica's own."""
        due = await self.database.fetch(_DUE.format(queue=queue), limit)
        random.shuffle(due)
        return [(await self._review(queue, row, turn), row["size"] or 0) for row in due]

    async def _review(self, queue: str, review: Row, turn: _Turn) -> _Fate:
        """The hash's lock comes before any other, as everywhere; who has it is never waited for."""
        if review["sha256"] is None:
            await self.database.fetch(f"DELETE FROM {queue} WHERE id = $1", review["id"])
            return _Fate.SETTLED
        try:
            async with self.database.try_locked(lock_of("blob", review["sha256"].hex())) as connection:
                if connection is None or not await connection.fetch(_TAKE.format(queue=queue), review["id"]):
                    return _Fate.BUSY
                return await turn(connection, review)
        except (LockTimeout, asyncpg.ForeignKeyViolationError):
            return _Fate.BUSY
        except asyncpg.CheckViolationError as error:
            # A charge that has drifted below what is held: one workspace's fault must not end everyone's collection.
            observe("gc.settle", layer="repo", span_name="WRITE reviews").fail(error)
            await self.database.fetch(_POSTPONE.format(queue=queue), review["id"])
            return _Fate.BUSY


async def _review_holding(judge: HoldingReviewJudge, connection: Connection, review: Row) -> _Fate:
    workspace_id, blob_id = review["workspace_id"], review["blob_id"]
    await connection.fetch(
        "SELECT FROM holdings WHERE workspace_id = $1 AND blob_id = $2 FOR UPDATE NOWAIT", workspace_id, blob_id
    )
    row = await connection.fetchrow(_LOOK_AT_HOLDING, workspace_id, blob_id)
    if row is None:
        await connection.execute("DELETE FROM holding_reviews WHERE id = $1", review["id"])
        return _Fate.SETTLED
    verdict = judge(HoldingReview(row["now"], to_holding(row["slug"], row), row["used"], row["on_hold"]))
    if verdict.event is not None:
        columns = event_columns(event_place(row), verdict.event, workspace_id)
        await connection.execute(_RELEASE, *columns, review["id"], blob_id, row["size"])
        return _Fate.GONE
    if verdict.again is None:
        await connection.execute("DELETE FROM holding_reviews WHERE id = $1", review["id"])
    else:
        await connection.execute("UPDATE holding_reviews SET due = $2 WHERE id = $1", review["id"], verdict.again)
    return _Fate.SETTLED


async def _review_blob(judge: BlobReviewJudge, connection: Connection, review: Row) -> _Fate:
    blob_id = review["blob_id"]
    await connection.fetch("SELECT FROM blobs WHERE id = $1 FOR UPDATE NOWAIT", blob_id)
    row = await connection.fetchrow(_LOOK_AT_BLOB, blob_id)
    if row is None:
        raise RuntimeError("a look without a row")
    verdict = judge(BlobReview(row["now"], row["held"], row["shown"], row["on_hold"]))
    if verdict.barren:
        await connection.execute(_MAKE_BARREN, blob_id)
    if verdict.delete_after is None:
        await connection.execute("DELETE FROM blob_reviews WHERE id = $1", review["id"])
        return _Fate.SETTLED
    condemned = await connection.execute(_CONDEMN, review["id"], blob_id, verdict.delete_after)
    return _Fate.GONE if condemned == "UPDATE 1" else _Fate.SETTLED


def _gone(reviews: list[tuple[_Fate, int]]) -> Amount:
    sizes = [size for fate, size in reviews if fate is _Fate.GONE]
    return Amount(len(sizes), sum(sizes))
