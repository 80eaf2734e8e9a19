"""The whole database in one look, which also lets a millisecond go by on its clock."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from tests.machine.model import ModelRef

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CLOCK = """
CREATE TABLE IF NOT EXISTS tests_clock (now timestamptz NOT NULL);
CREATE OR REPLACE FUNCTION refkeep_now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
    AS $$ SELECT now FROM tests_clock $$
"""
_EMPTY = """TRUNCATE objects, blobs, holdings, holds, entities, refs, tombstones, events, rejections, idempotency,
    holding_reviews, blob_reviews, renditions, rendition_claims, normalisations, tests_clock"""
_BEGIN = "INSERT INTO tests_clock VALUES ('2030-01-01T00:00:00Z')"
_WORKSPACES = """INSERT INTO workspaces (slug) SELECT unnest($1::text[])
    ON CONFLICT (slug) DO UPDATE SET used_bytes = 0, used_items = 0, max_bytes = NULL, max_items = NULL"""
_MS = "(extract(epoch FROM {}) * 1000)::bigint"
_LOOK = f"""
WITH tick AS (UPDATE tests_clock SET now = now + $1 * interval '1 ms')
SELECT json_build_object(
'now', {_MS.format("refkeep_now()")} + $1,
'holdings', (SELECT json_agg(json_build_array(w.slug, encode(b.sha256, 'hex'), {_MS.format("h.lease_until")}))
    FROM holdings h JOIN blobs b ON b.id = h.blob_id JOIN workspaces w ON w.id = h.workspace_id),
'versions', (SELECT json_agg(json_build_array(w.slug, entity_id, version))
    FROM entities JOIN workspaces w ON w.id = workspace_id),
'refs', (SELECT json_agg(json_build_array(r.id, w.slug, entity_id, role, encode(b.sha256, 'hex'), visibility, alt,
        former_position, {_MS.format("purge_after")}, position))
    FROM refs r JOIN blobs b ON b.id = r.blob_id JOIN workspaces w ON w.id = r.workspace_id),
'uses', (SELECT json_object_agg(slug, used_items) FROM workspaces WHERE slug = ANY ($2)),
'bytes', (SELECT json_agg(json_build_array(slug, used_bytes, (SELECT coalesce(sum(b.size), 0)
        FROM holdings h JOIN blobs b ON b.id = h.blob_id WHERE h.workspace_id = w.id)))
    FROM workspaces w WHERE slug = ANY ($2)),
'limits', (SELECT json_object_agg(slug, max_items) FROM workspaces WHERE slug = ANY ($2)),
'holds', (SELECT json_object_agg(encode(sha256, 'hex'), kind) FROM holds),
'events', (SELECT json_object_agg(slug, count) FROM (
    SELECT w.slug, count(*) FROM events e JOIN workspaces w ON w.id = e.workspace_id GROUP BY w.slug) AS counts),
'renditions', (SELECT json_agg(json_build_array(encode(parent.sha256, 'hex'), definition, encode(b.sha256, 'hex'),
        {_MS.format("r.created_at")}))
    FROM renditions r JOIN blobs parent ON parent.id = r.parent_id JOIN blobs b ON b.id = r.blob_id),
'objects', (SELECT json_agg(json_build_array(key, encode(sha256, 'hex'), state,
        coalesce(delete_after <= refkeep_now(), false), state = 'pending' AND lease_until <= refkeep_now()))
    FROM objects),
'blobs', (SELECT json_agg(json_build_array(encode(b.sha256, 'hex'), o.key, o.state))
    FROM blobs b LEFT JOIN objects o ON o.id = b.object_id)
)::text
"""
_SETTINGS = ("holdings", "versions", "refs", "objects", "blobs", "bytes", "renditions")


@dataclass(frozen=True)
class Copy:
    """A row of objects: `is_due` when its time to go has come, `is_abandoned` when its upload's time is over."""

    key: str
    sha256: str
    state: str
    is_due: bool
    is_abandoned: bool


@dataclass(frozen=True)
class Picture:
    """`tables` is what the model's picture must be; below that, the physical side."""

    now: int
    tables: dict[str, Any]
    objects: dict[str, Copy]
    blobs: dict[str, tuple[str | None, str | None]]
    bytes: list[tuple[str, int, int]]


async def set_up(connection: Connection) -> None:
    """Give the database a clock that stands until it is moved."""
    await connection.execute(CLOCK)


async def begin(connection: Connection, slugs: list[str]) -> None:
    """An empty database with these workspaces, at one moment."""
    await connection.execute(_EMPTY)
    await connection.execute(_BEGIN)
    await connection.execute(_WORKSPACES, slugs)


async def look(connection: Connection, slugs: list[str], milliseconds: int = 1) -> Picture:
    """Everything, as of the last moment of the clock; `now` is the next, so many milliseconds after it."""
    found = json.loads(await connection.fetchval(_LOOK, milliseconds, slugs))
    rows = {name: found[name] or [] for name in _SETTINGS}
    tables = {
        "holdings": {(slug, sha256): lease for slug, sha256, lease in rows["holdings"]},
        "versions": {(slug, number): version for slug, number, version in rows["versions"]},
        "refs": dict(_ref(*row) for row in rows["refs"]),
        "uses": found["uses"],
        "limits": found["limits"],
        "holds": found["holds"] or {},
        "events": found["events"] or {},
        "renditions": {(parent, definition): (made, at) for parent, definition, made, at in rows["renditions"]},
    }
    return Picture(
        found["now"],
        tables,
        {row[0]: Copy(*row) for row in rows["objects"]},
        {sha256: (key, state) for sha256, key, state in rows["blobs"]},
        [tuple(row) for row in rows["bytes"]],
    )


def _ref(ref_id: str, slug: str, number: str, role: str, *rest: Any) -> tuple[UUID, tuple[ModelRef, int | None]]:
    *facts, position = rest
    return UUID(ref_id), (ModelRef((slug, number), role, *facts), position)
