"""`Worklist` in a database of SQLite's: on disk as soon as it is large, without a name, and gone with its process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from service.domain.importing import MAX_ROWS, MAX_TEXT, Location, ManifestRow, Place, PlaceKind, Reason, SourceKind
from service.domain.policy import Visibility
from service.domain.ref import Labels
from service.domain.slot import EntityKey
from service.ports.worklist import EntityWork, Mistake

_TABLES = """
PRAGMA cache_size = -16384; -- KiB: what is held in memory at most; the rest is in a file without a name
PRAGMA temp_store = FILE;
CREATE TABLE rows (
    line INTEGER PRIMARY KEY, workspace TEXT, type TEXT, id TEXT, source_id TEXT, role TEXT, kind TEXT, number INTEGER,
    source_kind TEXT, source TEXT, filename TEXT, alt TEXT, owner TEXT, visibility TEXT);
CREATE TABLE mistakes (line INTEGER, code TEXT, detail TEXT, workspace TEXT, type TEXT, id TEXT, source_id TEXT);
"""
_INDEXES = """
CREATE INDEX rows_entity ON rows (workspace, type, id);
CREATE INDEX mistakes_entity ON mistakes (workspace, type, id);
"""
_ADD = "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ADD_MISTAKE = "INSERT INTO mistakes VALUES (?, ?, ?, ?, ?, ?, ?)"
_ENTITY = "workspace, type, id"


def _mark(code: str, detail: str, of: str, only: str) -> str:
    """The statement that makes a mistake of each row that `of` finds and `only` says."""
    return f"""INSERT INTO mistakes
        SELECT line, '{code}', {detail}, workspace, type, id, source_id FROM ({of}) WHERE {only}"""  # noqa: S608


_MARKS = (
    _mark(
        "same-source-id",
        "'The source_id stands on line ' || CASE WHEN line = first THEN last ELSE first END || ', too.'",
        """SELECT *, min(line) OVER same AS first, max(line) OVER same AS last, count(*) OVER same AS n FROM rows
            WINDOW same AS (PARTITION BY workspace, source_id)""",
        "n > 1",
    ),
    _mark(
        "same-slot",
        "'The row of line ' || first || ' has the same ' || kind || ' ' || number || ' of the role ' || role || '.'",
        """SELECT *, min(line) OVER (PARTITION BY workspace, type, id, role, kind, number) AS first FROM rows""",
        "line > first",
    ),
    _mark(
        "mixed-places",
        "'Rows of the role ' || role || ' have a position or an order, not some this and some that.'",
        "SELECT *, count(DISTINCT kind) AS kinds FROM rows GROUP BY workspace, type, id, role",
        "kinds > 1",
    ),
    _mark(
        "positions-with-gaps",
        "'The positions of the role ' || role || ' are not 0 to ' || (n - 1) || ': use order for what has gaps.'",
        """SELECT *, count(*) AS n, count(DISTINCT number) AS places, max(number) AS highest FROM rows
            WHERE kind = 'position' GROUP BY workspace, type, id, role""",
        "places = n AND highest <> n - 1",
    ),
    _mark(
        "too-many-rows",
        f"'The entity has ' || n || ' rows with ' || text || ' bytes of sources; {MAX_ROWS} and {MAX_TEXT} may be.'",
        "SELECT *, count(*) AS n, sum(length(source)) AS text FROM rows GROUP BY workspace, type, id",
        f"n > {MAX_ROWS} OR text > {MAX_TEXT}",
    ),
)


class SqliteWorklist:
    """See the port. Close it."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(_TABLES)
        self._db.execute("BEGIN")

    def close(self) -> None:
        """Let go of it."""
        self._db.close()

    def add(self, row: ManifestRow) -> None:
        """See the port."""
        entity, labels = row.entity, row.labels
        place = row.role, row.place.kind.value, row.place.number
        said = labels.filename, labels.alt, labels.owner, None if row.visibility is None else row.visibility.value
        key = row.line, entity.workspace, entity.type, entity.id, row.source_id
        self._db.execute(_ADD, (*key, *place, row.location.kind.value, row.location.text, *said))

    def add_mistake(self, mistake: Mistake) -> None:
        """See the port."""
        entity, reason = mistake.entity, mistake.reason
        key = (None, None, None) if entity is None else (entity.workspace, entity.type, entity.id)
        self._db.execute(_ADD_MISTAKE, (mistake.line, reason.code, reason.detail, *key, mistake.source_id))

    def settle(self) -> int:
        """See the port."""
        [(found,)] = self._db.execute("SELECT (SELECT count(*) FROM rows) + (SELECT count(*) FROM mistakes)")
        self._db.execute("COMMIT")
        self._db.executescript(_INDEXES)
        for statement in _MARKS:
            self._db.execute(statement)
        return int(found)

    def entities(self, after: EntityKey | None, limit: int) -> Sequence[EntityKey]:
        """See the port."""
        place = ("", "", "") if after is None else (after.workspace, after.type, after.id)
        query = f"""SELECT {_ENTITY} FROM (
            SELECT {_ENTITY} FROM (SELECT DISTINCT {_ENTITY} FROM rows WHERE ({_ENTITY}) > (?1, ?2, ?3)
                ORDER BY {_ENTITY} LIMIT ?4)
            UNION SELECT {_ENTITY} FROM (SELECT DISTINCT {_ENTITY} FROM mistakes WHERE ({_ENTITY}) > (?1, ?2, ?3)
                ORDER BY {_ENTITY} LIMIT ?4))
            ORDER BY {_ENTITY} LIMIT ?4"""  # noqa: S608 - names of our own columns
        return [EntityKey(*row) for row in self._db.execute(query, (*place, limit))]

    def work(self, entity: EntityKey) -> EntityWork:
        """See the port."""
        key, of = (
            (entity.workspace, entity.type, entity.id),
            "WHERE workspace = ? AND type = ? AND id = ? ORDER BY line",
        )
        rows = self._db.execute(f"SELECT * FROM rows {of}", key)  # noqa: S608
        mistakes = self._db.execute(f"SELECT * FROM mistakes {of}", key)  # noqa: S608
        return EntityWork(
            entity, tuple(_to_row(row) for row in rows.fetchmany(MAX_ROWS)), tuple(map(_to_mistake, mistakes))
        )

    def strays(self) -> Iterator[Mistake]:
        """See the port."""
        yield from map(_to_mistake, self._db.execute("SELECT * FROM mistakes WHERE workspace IS NULL ORDER BY line"))


def _to_row(row: tuple[Any, ...]) -> ManifestRow:
    line, workspace, type_, id_, source_id, role, kind, number, source_kind, source, *said, visibility = row
    return ManifestRow(
        line,
        source_id,
        EntityKey(workspace, type_, id_),
        role,
        Place(PlaceKind(kind), number),
        Location(SourceKind(source_kind), source),
        Labels(*said),
        None if visibility is None else Visibility(visibility),
    )


def _to_mistake(row: tuple[Any, ...]) -> Mistake:
    line, code, detail, workspace, type_, id_, source_id = row
    entity = None if workspace is None else EntityKey(workspace, type_, id_)
    return Mistake(line, Reason(code, detail), entity, source_id)
