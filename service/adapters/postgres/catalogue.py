"""Lists of refs on Postgres: a page goes on after the last ref of the one before, along an index in its order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from service.adapters.postgres.database import Database, Row
from service.adapters.postgres.rows import RESOLVED_REFS, to_resolved_ref
from service.adapters.postgres.walks import Walk, walk_of
from service.domain.ref import RefState
from service.observability import observed
from service.ports.catalogue import MediaFilter, MediaPage
from service.schemas.media_cursor import MediaCursor

SCAN = 2000
"""How many refs a page looks at for those that fit where no index begins with all that is asked for."""

_LAST_ID, _LAST_TIME = UUID(int=2**128 - 1), datetime(9999, 1, 1, tzinfo=UTC)
_TYPES = {"blob_id": "bigint"}

# Ranges of whole rows, not equalities: where those leave the order to the ids alone, Postgres may take the primary key
# and look for the refs of a workspace among those of all others. Limits are no parameters: a plan that knows how few
# rows are wanted reads an index in its order.
_STRETCH = """SELECT found.* FROM {beginnings} CROSS JOIN LATERAL (
    SELECT r.* FROM refs r
    WHERE ({prefix}) >= ({values}) AND ({prefix}, {tail}) < ({values}, {after}){trash}
    ORDER BY {order} LIMIT {scan}) AS found
ORDER BY {newest} LIMIT {scan}"""
_NAMED = "SELECT r.* FROM refs r WHERE r.workspace_id = $1 AND r.id = ANY ({ids}::uuid[])"
_PAGE = f"""
WITH stretch AS MATERIALIZED ({{stretch}}),
last AS (
    SELECT trashed_at AS last_trashed_at, id AS last_id, (SELECT count(*) FROM stretch) AS scanned
    FROM stretch ORDER BY {{oldest}} LIMIT 1),
page AS (SELECT r.* FROM stretch r WHERE {{rest}} ORDER BY {{newest}} LIMIT {{limit}})
SELECT last.*, shown.* FROM last LEFT JOIN (
    {RESOLVED_REFS.replace("FROM refs r", "FROM page r")}) AS shown ON true
ORDER BY {{newest}}
"""


@dataclass(frozen=True, slots=True)
class PostgresCatalogue:
    """`Catalogue` on Postgres."""

    database: Database

    @observed("catalogue.page", layer="repo", span_name="SELECT refs")
    async def page(self, workspace: str, after: str | None, limit: int, wanted: MediaFilter) -> MediaPage:
        """See the port: one row more than asked for says whether there is another page."""
        workspace_id = await self.database.require_workspace_id(workspace)
        by_trashed_at = wanted.state is RefState.TRASHED
        cursor = None if after is None else MediaCursor.parse(after, by_trashed_at=by_trashed_at)
        query = _Query(by_trashed_at, cursor, limit + 1, [workspace_id])
        if wanted.ref_ids is None:
            query.go_along(await walk_of(self.database, workspace_id, wanted))
        else:
            query.look_at(wanted.ref_ids, replace(wanted, ref_ids=None))
        return query.page_of(await self.database.fetch(str(query), *query.parameters))


@dataclass(slots=True)
class _Query:
    """The statement of one page and one ref more, `limit` together: each list has a plan of its own."""

    by_trashed_at: bool
    cursor: MediaCursor | None
    limit: int
    parameters: list[object]
    scan: int | None = None
    stretch: str = ""
    rest: list[str] = field(default_factory=lambda: ["true"])

    @property
    def tail(self) -> tuple[str, ...]:
        """The columns of the list's order."""
        return ("trashed_at", "id") if self.by_trashed_at else ("id",)

    def go_along(self, walk: Walk) -> None:
        """From the cursor on, only as far as needed where nothing is left to be looked at."""
        self.scan = self.limit if walk.rest == MediaFilter() else max(SCAN, self.limit)
        prefix = ", ".join(f"r.{name}" for name in ("workspace_id", *walk.columns))
        order = (*("workspace_id", *walk.columns), *self.tail)
        self.stretch = _STRETCH.format(
            beginnings=self._beginnings(walk),
            prefix=prefix,
            values=", ".join(("$1", *(f"asked.{name}" for name in walk.columns))),
            tail=", ".join(f"r.{name}" for name in self.tail),
            after=self._after(),
            trash=" AND r.state = 'trashed'" if self.by_trashed_at else "",
            order=_descending(order, "r."),
            newest=_descending(self.tail),
            scan=self.scan,
        )
        self._narrow(walk.rest)

    def look_at(self, ref_ids: tuple[UUID, ...], wanted: MediaFilter) -> None:
        """These refs alone."""
        self.stretch = _NAMED.format(ids=self._parameter([*ref_ids]))
        self.rest.append(f"({', '.join(f'r.{name}' for name in self.tail)}) < ({self._after()})")
        self._narrow(wanted)

    def page_of(self, rows: list[Row]) -> MediaPage:
        """The page, from the statement's rows: each has the end of the stretch, too."""
        shown = [row for row in rows if row["id"] is not None]
        items = tuple(to_resolved_ref(row) for row in shown[: self.limit - 1])
        if len(shown) == self.limit:
            return MediaPage(items, str(MediaCursor.of(items[-1].ref, by_trashed_at=self.by_trashed_at)))
        if not rows or rows[0]["scanned"] != self.scan:
            return MediaPage(items, None)
        last_trashed_at = rows[0]["last_trashed_at"] if self.by_trashed_at else None
        return MediaPage(items, str(MediaCursor(last_trashed_at, rows[0]["last_id"])))

    def __str__(self) -> str:
        newest, oldest = _descending(self.tail), ", ".join(self.tail)
        rest = " AND ".join(self.rest)
        return _PAGE.format(stretch=self.stretch, rest=rest, newest=newest, oldest=oldest, limit=self.limit)

    def _beginnings(self, walk: Walk) -> str:
        if not walk.columns:
            return "(VALUES (1)) AS asked"
        columns = zip(*walk.beginnings, strict=True) if walk.beginnings else [()] * len(walk.columns)
        arrays = [
            f"{self._parameter([*values])}::{_TYPES.get(name, 'text')}[]"
            for name, values in zip(walk.columns, columns, strict=True)
        ]
        return f"unnest({', '.join(arrays)}) AS asked ({', '.join(walk.columns)})"

    def _after(self) -> str:
        trashed_at, ref_id = (_LAST_TIME, _LAST_ID) if self.cursor is None else self.cursor
        values = (trashed_at, ref_id) if self.by_trashed_at else (ref_id,)
        return ", ".join(self._parameter(value) for value in values)

    def _narrow(self, wanted: MediaFilter) -> None:
        for name in ("state", "entity_type", "entity_id", "role"):
            if (value := getattr(wanted, name)) is not None:
                self.rest.append(f"r.{name} = {self._parameter(value)}")
        if wanted.sha256 is not None:
            self.rest.append(f"{_OF_BLOB.format('sha256')} = {self._parameter(bytes.fromhex(wanted.sha256))}")
        if wanted.media_type is not None and wanted.media_type.endswith("/*"):
            start = self._parameter(wanted.media_type.removesuffix("*"))
            self.rest.append(f"starts_with({_OF_BLOB.format('media_type')}, {start})")
        elif wanted.media_type is not None:
            self.rest.append(f"{_OF_BLOB.format('media_type')} = {self._parameter(wanted.media_type)}")

    def _parameter(self, value: object) -> str:
        self.parameters.append(value)
        return f"${len(self.parameters)}"


_OF_BLOB = "(SELECT b.{} FROM blobs b WHERE b.id = r.blob_id)"


def _descending(names: tuple[str, ...], of: str = "") -> str:
    return ", ".join(f"{of}{name} DESC" for name in names)
