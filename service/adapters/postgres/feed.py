"""The feed on Postgres: one statement a page, nothing at or above the oldest running transaction."""

from __future__ import annotations

from dataclasses import dataclass

from service.adapters.postgres.database import Database, Row
from service.domain.errors import NotFound
from service.observability import observed
from service.ports.feed import EventFilter, FeedPage, LoggedEvent
from service.schemas.cursor import START, Cursor
from service.schemas.events import subject_of

_LAST_SEQ = 2**31 - 1
# Older epochs are read whole; in the current one a transaction at or above the snapshot's xmin may still commit before
# others that are visible already, so nothing from there on is told yet.
_PAGE = """
WITH edge AS (
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xmin, (SELECT max(epoch) FROM epochs) AS epoch)
SELECT edge.xmin, edge.epoch AS current_epoch, page.*
FROM edge LEFT JOIN LATERAL (
    SELECT epoch, txid, seq, time, type, entity_type, entity_id, sha256, data::text
    FROM events
    WHERE workspace_id = $1 AND (epoch, txid, seq) > ($2, $3, $4) AND (epoch < edge.epoch OR txid < edge.xmin)
        AND ($6::text IS NULL OR entity_type = $6) AND ($7::text IS NULL OR entity_id = $7)
        AND ($8::uuid IS NULL OR ref_id = $8) AND ($9::bytea IS NULL OR sha256 = $9)
        AND ($10::text IS NULL OR decision = $10)
    ORDER BY epoch, txid, seq LIMIT $5
) AS page ON true
ORDER BY epoch, txid, seq
"""


@dataclass(frozen=True, slots=True)
class PostgresFeed:
    """`Feed` on Postgres."""

    database: Database

    @observed("events.page", layer="repo", span_name="SELECT events")
    async def page(self, workspace: str, after: str | None, limit: int, wanted: EventFilter) -> FeedPage:
        """See the port."""
        workspace_id = await self.database.workspace_id(workspace)
        if workspace_id is None:
            raise NotFound(f"There is no workspace {workspace}.")
        start = START if after is None else Cursor.parse(after)
        sha256 = None if wanted.sha256 is None else bytes.fromhex(wanted.sha256)
        filters = (wanted.entity_type, wanted.entity_id, wanted.ref_id, sha256, wanted.decision)
        rows = await self.database.fetch(_PAGE, workspace_id, *start, limit, *filters)
        events = tuple(_to_event(row) for row in rows if row["txid"] is not None)
        caught_up = len(events) < limit
        edge = Cursor(rows[0]["current_epoch"], rows[0]["xmin"] - 1, _LAST_SEQ)
        reached = max(start, edge) if caught_up else Cursor.parse(events[-1].cursor)
        return FeedPage(events, str(reached), caught_up)


def _to_event(row: Row) -> LoggedEvent:
    sha256 = None if row["sha256"] is None else row["sha256"].hex()
    subject = subject_of(row["entity_type"], row["entity_id"], sha256)
    cursor = Cursor(row["epoch"], row["txid"], row["seq"])
    return LoggedEvent(str(cursor), row["type"], row["time"], subject, row["data"].encode())
