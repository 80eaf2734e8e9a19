"""The feed on Postgres: one statement a page, nothing at or above the oldest running transaction."""

from __future__ import annotations

from dataclasses import dataclass

from service.adapters.postgres.database import Database, Row
from service.domain.errors import BadCursor
from service.observability import observed
from service.ports.feed import EventFilter, FeedPage, LoggedEvent
from service.schemas.cursor import START, Cursor
from service.schemas.events import subject_of

_LAST_SEQ = 2**31 - 1
_SCAN = 10_000
"""How many events a page looks at for those that its filter wants."""

# Older epochs are read whole; in the current one a transaction at or above the snapshot's xmin may still commit before
# others that are visible already, so nothing from there on is told yet. A narrow filter must not read the whole log for
# one page: it looks at a bounded stretch, and the cursor goes on behind it.
_PAGE = """
WITH edge AS (
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xmin, (SELECT max(epoch) FROM epochs) AS epoch),
stretch AS (
    SELECT events.epoch, txid, seq, time, type, entity_type, entity_id, ref_id, sha256, decision
    FROM events, edge
    WHERE workspace_id = $1 AND (events.epoch, txid, seq) > ($2, $3, $4)
        AND (events.epoch < edge.epoch OR txid < edge.xmin) {entity}
    ORDER BY events.epoch, txid, seq LIMIT $6),
last AS (SELECT epoch, txid, seq, (SELECT count(*) FROM stretch) AS scanned FROM stretch
    ORDER BY epoch DESC, txid DESC, seq DESC LIMIT 1),
page AS (
    SELECT * FROM stretch
    WHERE ($7::text IS NULL OR entity_type = $7) AND ($8::text IS NULL OR entity_id = $8)
        AND ($9::uuid IS NULL OR ref_id = $9) AND ($10::bytea IS NULL OR sha256 = $10)
        AND ($11::text IS NULL OR decision = $11)
    ORDER BY epoch, txid, seq LIMIT $5)
SELECT edge.xmin, edge.epoch AS current_epoch, last.epoch AS last_epoch, last.txid AS last_txid, last.seq AS last_seq,
    coalesce(last.scanned, 0) AS scanned, page.*, events.data::text AS data
FROM edge LEFT JOIN last ON true LEFT JOIN page ON true
LEFT JOIN events ON events.epoch = page.epoch AND events.txid = page.txid AND events.seq = page.seq
ORDER BY page.epoch, page.txid, page.seq
"""
_OF_WORKSPACE = _PAGE.format(entity="")
_OF_ENTITY = _PAGE.format(entity="AND entity_type = $7 AND entity_id = $8")


@dataclass(frozen=True, slots=True)
class PostgresFeed:
    """`Feed` on Postgres."""

    database: Database

    @observed("events.page", layer="repo", span_name="SELECT events")
    async def page(self, workspace: str, after: str | None, limit: int, wanted: EventFilter) -> FeedPage:
        """See the port."""
        workspace_id = await self.database.require_workspace_id(workspace)
        start = START if after is None else Cursor.parse(after)
        of_entity = wanted.entity_type is not None and wanted.entity_id is not None
        scan = limit if wanted == EventFilter() else max(_SCAN, limit)
        query = _OF_ENTITY if of_entity else _OF_WORKSPACE
        rows = await self.database.fetch(query, workspace_id, *start, limit, scan, *_filters(wanted))
        edge = Cursor(rows[0]["current_epoch"], rows[0]["xmin"] - 1, _LAST_SEQ)
        if start > edge:
            raise BadCursor  # of a future that this database has not seen: it was restored to an earlier time
        return _page(rows, limit, scan, edge)


def _page(rows: list[Row], limit: int, scan: int, edge: Cursor) -> FeedPage:
    events = tuple(_to_event(row) for row in rows if row["txid"] is not None)
    if len(events) == limit:
        return FeedPage(events, events[-1].cursor, caught_up=False)
    if rows[0]["scanned"] == scan:
        last = Cursor(rows[0]["last_epoch"], rows[0]["last_txid"], rows[0]["last_seq"])
        return FeedPage(events, str(last), caught_up=False)
    return FeedPage(events, str(edge), caught_up=True)


def _filters(wanted: EventFilter) -> tuple[object, ...]:
    sha256 = None if wanted.sha256 is None else bytes.fromhex(wanted.sha256)
    return wanted.entity_type, wanted.entity_id, wanted.ref_id, sha256, wanted.decision


def _to_event(row: Row) -> LoggedEvent:
    sha256 = None if row["sha256"] is None else row["sha256"].hex()
    subject = subject_of(row["entity_type"], row["entity_id"], sha256)
    cursor = Cursor(row["epoch"], row["txid"], row["seq"])
    return LoggedEvent(str(cursor), row["type"], row["time"], subject, row["data"].encode())
