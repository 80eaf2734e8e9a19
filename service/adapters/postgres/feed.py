"""The feed on Postgres: one statement a page, nothing at or above the oldest running transaction."""

from __future__ import annotations

from dataclasses import dataclass

from service.adapters.postgres.database import Database, Row
from service.domain.errors import BadCursor, CursorExpired
from service.observability import observed
from service.ports.feed import Blocker, EventFilter, FeedPage, Lag, LoggedEvent, News
from service.schemas.cursor import START, Cursor
from service.schemas.events import subject_of

_LAST_SEQ = 2**31 - 1
_SCAN = 10_000
"""How many events a page looks at for those that its filter wants."""
_NEWS = 1000
"""How many events a look for news tells apart; where there are more, everyone may have some."""

_MOST_WAITING = 1000

_EDGE = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xmin, (SELECT max(epoch) FROM epochs) AS epoch"
_SETTLED = "(events.epoch < edge.epoch OR txid < edge.xmin)"

# The cursor's own epoch and later ones are asked for one by one: of `(epoch, txid, seq) > (…)` the planner judges the
# epoch alone, takes what is left for nothing, and reads everyone's log from there on instead of the index that fits.
_BOUND = f"(SELECT CASE WHEN edge.epoch = {{epoch}} THEN xmin ELSE {2**63 - 1} END FROM edge)"  # a bound for the index
_BEHIND = f"""
    (SELECT {{columns}} FROM events
    WHERE events.epoch = {{epoch}} AND (txid, seq) > ({{txid}}, {{seq}}) AND txid < {_BOUND} {{which}}
    ORDER BY txid, seq LIMIT {{limit}})
    UNION ALL
    (SELECT {{columns}} FROM events, edge
    WHERE events.epoch > {{epoch}} AND {_SETTLED} {{which}}
    ORDER BY events.epoch, txid, seq LIMIT {{limit}})
    ORDER BY epoch, txid, seq LIMIT {{limit}}"""

# Older epochs are read whole; in the current one a transaction at or above the snapshot's xmin may still commit before
# others that are visible already, so nothing from there on is told yet. A narrow filter must not read the whole log for
# one page: it looks at a bounded stretch, and the cursor goes on behind it. What was dropped is asked in the same
# statement, so that nothing can be dropped between the question and the page.
_PAGE = f"""
WITH edge AS ({_EDGE}),
stretch AS ({{stretch}}),
last AS (SELECT epoch, txid, seq, (SELECT count(*) FROM stretch) AS scanned FROM stretch
    ORDER BY epoch DESC, txid DESC, seq DESC LIMIT 1),
page AS (
    SELECT * FROM stretch
    WHERE ($7::text IS NULL OR entity_type = $7) AND ($8::text IS NULL OR entity_id = $8)
        AND ($9::uuid IS NULL OR ref_id = $9) AND ($10::bytea IS NULL OR sha256 = $10)
        AND ($11::text IS NULL OR decision = $11)
    ORDER BY epoch, txid, seq LIMIT $5)
SELECT edge.xmin, edge.epoch AS current_epoch, last.epoch AS last_epoch, last.txid AS last_txid, last.seq AS last_seq,
    coalesce(last.scanned, 0) AS scanned, page.*, events.data::text AS data,
    dropped.epoch AS dropped_epoch, dropped.txid AS dropped_txid, dropped.seq AS dropped_seq
FROM edge LEFT JOIN last ON true LEFT JOIN page ON true LEFT JOIN {{dropped}} AS dropped ON true
LEFT JOIN events ON events.epoch = page.epoch AND events.txid = page.txid AND events.seq = page.seq
ORDER BY page.epoch, page.txid, page.seq
"""


def _page_of(which: str, dropped: str) -> str:
    columns = "events.epoch, txid, seq, time, type, entity_type, entity_id, ref_id, sha256, decision"
    stretch = _BEHIND.format(columns=columns, epoch="$2", txid="$3", seq="$4", limit="$6", which=f"AND {which}")
    return _PAGE.format(stretch=stretch, dropped=dropped)


_END = "(SELECT * FROM checkpoint_ends WHERE workspace_id = $1)"
_OF_WORKSPACE = _page_of("workspace_id = $1", _END)
_OF_ENTITY = _page_of("workspace_id = $1 AND entity_type = $7 AND entity_id = $8", _END)
_OF_ALL = _page_of("$1::bigint IS NULL", "checkpoint")

_FRESH = f"""
WITH edge AS ({_EDGE}),
fresh AS ({
    _BEHIND.format(
        columns="events.epoch, txid, seq, workspace_id", epoch="$1", txid="$2", seq="$3", limit=_NEWS, which=""
    )
})
SELECT edge.xmin, edge.epoch, (SELECT count(*) FROM fresh) AS count,
    ARRAY(SELECT slug FROM workspaces WHERE id IN (SELECT workspace_id FROM fresh)) AS slugs
FROM edge
"""

_LAST = f"""
WITH edge AS ({_EDGE})
SELECT events.epoch, txid, seq FROM events, edge
WHERE ($1::bigint IS NULL OR workspace_id = $1) AND {_SETTLED}
    AND ($3::text IS NULL OR entity_type = $3) AND ($4::text IS NULL OR entity_id = $4)
    AND ($5::uuid IS NULL OR ref_id = $5) AND ($6::bytea IS NULL OR sha256 = $6)
    AND ($7::text IS NULL OR decision = $7)
ORDER BY events.epoch DESC, txid DESC, seq DESC LIMIT 1 OFFSET $2
"""

# Of a join with the edge the planner expects a third of the log, and reads all of it.
# Every transaction holds a lock on its own id, which anyone may see; of other roles' sessions the rest stays hidden.
_LAG = f"""
WITH edge AS ({_EDGE}),
waiting AS (
    SELECT time FROM events WHERE epoch = (SELECT epoch FROM edge) AND txid >= (SELECT xmin FROM edge)
    ORDER BY epoch, txid, seq LIMIT {_MOST_WAITING})
SELECT (SELECT count(*) FROM waiting) AS waiting,
    extract(epoch FROM refkeep_now() - (SELECT min(time) FROM waiting))::float8 AS seconds,
    l.locktype IS NOT NULL AS is_blocked, a.pid, a.application_name, a.state, a.xact_start, a.query_start
FROM edge
LEFT JOIN pg_locks l ON l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
    AND l.transactionid::text::bigint = edge.xmin % (1::bigint << 32)
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class PostgresFeed:
    """`Feed` on Postgres."""

    database: Database

    @observed("events.page", layer="repo", span_name="SELECT events")
    async def page(self, workspace: str | None, after: str | None, limit: int, wanted: EventFilter) -> FeedPage:
        """See the port."""
        start = START if after is None else Cursor.parse(after)
        workspace_id = None if workspace is None else await self.database.require_workspace_id(workspace)
        scan = limit if wanted == EventFilter() else max(_SCAN, limit)
        query = _query(workspace_id, wanted)
        rows = await self.database.fetch(query, workspace_id, *start, limit, scan, *_filters(wanted))
        edge = Cursor(rows[0]["current_epoch"], rows[0]["xmin"] - 1, _LAST_SEQ)
        if start > edge:
            raise BadCursor  # of a future that this database has not seen: it was restored to an earlier time
        if rows[0]["dropped_epoch"] is not None and start < _cursor(rows[0], "dropped_"):
            raise CursorExpired
        return _page(rows, limit, scan, edge)

    @observed("events.before_last", layer="repo", span_name="SELECT events")
    async def before_last(self, workspace: str | None, count: int, wanted: EventFilter) -> str | None:
        """The cursor behind which the last `count` events stand that fit; where there are fewer, all that are kept."""
        workspace_id = None if workspace is None else await self.database.require_workspace_id(workspace)
        row = await self.database.fetchrow(_LAST, workspace_id, count, *_filters(wanted))
        if row is None:
            row = await self.database.fetchrow("SELECT epoch, txid, seq FROM checkpoint")
        return None if row is None else str(_cursor(row))

    @observed("events.edge", layer="repo", span_name="SELECT epochs")
    async def edge(self) -> str:
        """See the port."""
        return (await self.news(None)).until

    async def news(self, after: str | None) -> News:
        """See the port. Asked many times a second: on no record, it would drown the others."""
        if after is None:
            row = await self.database.fetchrow(_EDGE)
        else:
            row = await self.database.fetchrow(_FRESH, *Cursor.parse(after))
        if row is None:
            raise RuntimeError("an edge without a row")
        until = str(Cursor(row["epoch"], row["xmin"] - 1, _LAST_SEQ))
        is_vague = after is None or row["count"] == _NEWS
        return News(until, None if is_vague else frozenset(row["slugs"]))

    @observed("events.lag", layer="repo", span_name="SELECT events", routine=True)
    async def lag(self) -> Lag:
        """See the port."""
        row = await self.database.fetchrow(_LAG)
        if row is None:
            raise RuntimeError("an edge without a row")
        if not row["waiting"]:
            return Lag(0.0, 0, None)
        blocker = Blocker(row["pid"], row["application_name"], row["state"], row["xact_start"], row["query_start"])
        return Lag(max(row["seconds"], 0.0), row["waiting"], blocker if row["is_blocked"] else None)


def _query(workspace_id: int | None, wanted: EventFilter) -> str:
    if workspace_id is None:
        return _OF_ALL
    of_entity = wanted.entity_type is not None and wanted.entity_id is not None
    return _OF_ENTITY if of_entity else _OF_WORKSPACE


def _page(rows: list[Row], limit: int, scan: int, edge: Cursor) -> FeedPage:
    events = tuple(_to_event(row) for row in rows if row["txid"] is not None)
    if len(events) == limit:
        return FeedPage(events, events[-1].cursor, caught_up=False)
    if rows[0]["scanned"] == scan:
        return FeedPage(events, str(_cursor(rows[0], "last_")), caught_up=False)
    return FeedPage(events, str(edge), caught_up=True)


def _cursor(row: Row, prefix: str = "") -> Cursor:
    return Cursor(row[f"{prefix}epoch"], row[f"{prefix}txid"], row[f"{prefix}seq"])


def _filters(wanted: EventFilter) -> tuple[object, ...]:
    sha256 = None if wanted.sha256 is None else bytes.fromhex(wanted.sha256)
    return wanted.entity_type, wanted.entity_id, wanted.ref_id, sha256, wanted.decision


def _to_event(row: Row) -> LoggedEvent:
    sha256 = None if row["sha256"] is None else row["sha256"].hex()
    subject = subject_of(row["entity_type"], row["entity_id"], sha256)
    return LoggedEvent(str(_cursor(row)), row["type"], row["time"], subject, row["data"].encode())
