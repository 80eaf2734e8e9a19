"""Lists of refs on Postgres: a page goes on after the last ref of the one before, on an index."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from service.adapters.postgres.database import Database
from service.adapters.postgres.rows import RESOLVED_REFS, to_resolved_ref
from service.domain.blob import Sha256
from service.domain.errors import NotFound
from service.domain.ref import RefState
from service.observability import observed
from service.ports.catalogue import MediaFilter, MediaPage
from service.schemas.media_cursor import MediaCursor

_BEYOND = UUID(int=2**128 - 1)
_WHOLE_LISTS = (MediaFilter(), MediaFilter(RefState.LIVE))


@dataclass(frozen=True, slots=True)
class PostgresCatalogue:
    """`Catalogue` on Postgres."""

    database: Database

    @observed("catalogue.page", layer="repo", span_name="SELECT refs")
    async def page(self, workspace: str, after: str | None, limit: int, wanted: MediaFilter) -> MediaPage:
        """See the port: one row more than asked for says whether there is another page."""
        workspace_id = await self.database.workspace_id(workspace)
        if workspace_id is None:
            raise NotFound(f"There is no workspace {workspace}.")
        by_trashed_at = wanted.state is RefState.TRASHED
        cursor = None if after is None else MediaCursor.parse(after, by_trashed_at=by_trashed_at)
        where = _where(workspace_id, wanted, cursor)
        order = "r.trashed_at DESC, r.id DESC" if by_trashed_at else "r.workspace_id DESC, r.id DESC"
        # The limit is no parameter: a plan that knows how few rows are wanted reads an index in its order.
        query = f"{RESOLVED_REFS} WHERE {where} ORDER BY {order} LIMIT {limit + 1:d}"
        rows = await self.database.fetch(query, *where.parameters)
        items = tuple(to_resolved_ref(row) for row in rows[:limit])
        more = len(rows) > limit
        return MediaPage(items, str(MediaCursor.of(items[-1].ref, by_trashed_at=by_trashed_at)) if more else None)


@dataclass(slots=True)
class _Where:
    """Conditions that must all hold: only those asked for are there, so that each list has a plan of its own."""

    conditions: list[str] = field(default_factory=list)
    parameters: list[object] = field(default_factory=list)

    def add(self, condition: str, *parameters: object) -> None:
        """`condition` has `{}` for each of its parameters; it is left out when the first is None."""
        if parameters[0] is not None:
            numbers = range(len(self.parameters) + 1, len(self.parameters) + len(parameters) + 1)
            self.conditions.append(condition.format(*(f"${number}" for number in numbers)))
            self.parameters.extend(parameters)

    def __str__(self) -> str:
        return " AND ".join(self.conditions)


def _where(workspace_id: int, wanted: MediaFilter, cursor: MediaCursor | None) -> _Where:
    where = _Where()
    if wanted in _WHOLE_LISTS:
        _add_range(where, workspace_id, cursor)
        cursor = None
    else:
        where.add("r.workspace_id = {}", workspace_id)
    if wanted.state is not None:
        where.conditions.append(f"r.state = '{wanted.state.value}'")  # no parameter: the index of the trash has it, too
    where.add("r.entity_type = {}", wanted.entity_type)
    where.add("r.entity_id = {}", wanted.entity_id)
    where.add("r.role = {}", wanted.role)
    where.add("r.id = ANY ({}::uuid[])", None if wanted.ref_ids is None else [*wanted.ref_ids])
    where.add("r.blob_id = (SELECT id FROM blobs WHERE sha256 = {})", _bytes(wanted.sha256))
    _add_media_type(where, wanted.media_type)
    if cursor is not None and cursor.trashed_at is not None:
        where.add("(r.trashed_at, r.id) < ({}, {})", cursor.trashed_at, cursor.ref_id)
    elif cursor is not None:
        where.add("r.id < {}", cursor.ref_id)
    return where


def _add_range(where: _Where, workspace_id: int, cursor: MediaCursor | None) -> None:
    """The workspace as a range of one value.

    An equality would make the order that of the ids alone, for which Postgres may take the primary key, and look for
    the refs of a workspace among those of all others.
    """
    where.add("r.workspace_id >= {}", workspace_id)
    where.add("(r.workspace_id, r.id) < ({}, {})", workspace_id, _BEYOND if cursor is None else cursor.ref_id)


def _add_media_type(where: _Where, media_type: str | None) -> None:
    if media_type is not None and media_type.endswith("/*"):
        where.add("starts_with(b.media_type, {})", media_type.removesuffix("*"))
    else:
        where.add("b.media_type = {}", media_type)


def _bytes(sha256: Sha256 | None) -> bytes | None:
    return None if sha256 is None else bytes.fromhex(sha256)
