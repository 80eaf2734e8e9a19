"""Along which index a list of refs goes.

Each index begins with what the list is narrowed to and ends with the list's order. A walk may have several
beginnings, such as both states: each gives its first rows, which are merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.adapters.postgres.database import Database
from service.domain.blob import Sha256
from service.domain.ref import RefState
from service.ports.catalogue import MediaFilter

MOST_KINDS = 100
"""A workspace with more pairs of entity type and role is walked whole, a stretch at a time."""

_FIRST = """SELECT r.entity_type, r.role FROM refs r
    WHERE r.workspace_id = $1 AND r.state = {before}.state AND {behind}
    ORDER BY r.entity_type, r.role LIMIT 1"""
# From one kind to the next by the index, whatever lies between them.
_KINDS = f"""
WITH RECURSIVE kind AS (
    SELECT asked.state, first.* FROM unnest($2::text[]) AS asked (state)
    CROSS JOIN LATERAL ({_FIRST.format(before="asked", behind="{which}")}) AS first
    UNION ALL
    SELECT kind.state, next.* FROM kind CROSS JOIN LATERAL (
        {_FIRST.format(before="kind", behind="(r.entity_type, r.role) > (kind.entity_type, kind.role) AND {which}")}
    ) AS next)
SELECT state, entity_type, role FROM kind LIMIT {MOST_KINDS + 1}
"""
_ALL_KINDS = _KINDS.format(which="true")
_KINDS_OF_TYPE = _KINDS.format(which="r.entity_type = $3")


@dataclass(frozen=True, slots=True)
class Walk:
    """The columns after the workspace that an index begins with, and the values that the list begins them with.

    `rest` is what the walk does not answer: the rows must be looked at for it.
    """

    columns: tuple[str, ...]
    beginnings: Sequence[tuple[object, ...]]
    rest: MediaFilter

    def in_trash(self) -> Walk:
        """The same along the index of the trash, which has no state: it is the trash's alone."""
        rest = replace(self.rest, state=None)
        if "state" not in self.columns:
            return replace(self, rest=rest)
        return Walk(self.columns[1:], [values[1:] for values in self.beginnings], rest)


async def walk_of(database: Database, workspace_id: int, wanted: MediaFilter) -> Walk:
    """The narrowest walk for a filter without `ref_ids`. A blob that is not there has no beginning."""
    states = [state.value for state in RefState] if wanted.state is None else [wanted.state.value]
    walk = await _walk(database, workspace_id, states, wanted)
    return walk.in_trash() if wanted.state is RefState.TRASHED else walk


async def _walk(database: Database, workspace_id: int, states: list[str], wanted: MediaFilter) -> Walk:
    if wanted.sha256 is not None:
        return await _along_a_blob(database, wanted.sha256, wanted)
    entity_type, entity_id, role = wanted.entity_type, wanted.entity_id, wanted.role
    if entity_type is not None and entity_id is not None:
        return _along_entities([(state, entity_type, entity_id) for state in states], wanted)
    if entity_type is not None and role is not None:
        return _along_kinds([(state, entity_type, role) for state in states], wanted)
    is_narrow = (entity_type, entity_id, role) != (None, None, None)
    kinds = await _kinds(database, workspace_id, states, entity_type) if is_narrow else []
    if not is_narrow or len(kinds) > MOST_KINDS:
        return Walk(("state",), [(state,) for state in states], replace(wanted, state=None))
    if entity_id is not None:
        return _along_entities(sorted({(state, found, entity_id) for state, found, _ in kinds}), wanted)
    return _along_kinds([kind for kind in kinds if role in {None, kind[2]}], wanted)


async def _along_a_blob(database: Database, sha256: Sha256, wanted: MediaFilter) -> Walk:
    row = await database.fetchrow("SELECT id FROM blobs WHERE sha256 = $1", bytes.fromhex(sha256))
    return Walk(("blob_id",), [] if row is None else [(row["id"],)], replace(wanted, sha256=None))


def _along_entities(beginnings: Sequence[tuple[object, ...]], wanted: MediaFilter) -> Walk:
    rest = replace(wanted, state=None, entity_type=None, entity_id=None)
    return Walk(("state", "entity_type", "entity_id"), beginnings, rest)


def _along_kinds(beginnings: Sequence[tuple[object, ...]], wanted: MediaFilter) -> Walk:
    return Walk(("state", "entity_type", "role"), beginnings, replace(wanted, state=None, entity_type=None, role=None))


async def _kinds(
    database: Database, workspace_id: int, states: list[str], entity_type: str | None
) -> list[tuple[str, str, str]]:
    """State, entity type and role of the refs that there are, up to one more than `MOST_KINDS`."""
    if entity_type is None:
        rows = await database.fetch(_ALL_KINDS, workspace_id, states)
    else:
        rows = await database.fetch(_KINDS_OF_TYPE, workspace_id, states, entity_type)
    return [(row["state"], row["entity_type"], row["role"]) for row in rows]
