"""Renditions on Postgres. A publication has the locks of both hashes, as everything that changes what a blob means."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from service.adapters.gathering import Gathering
from service.adapters.postgres.claims import attempt
from service.adapters.postgres.database import Connection, Database, Row
from service.adapters.postgres.healing import MAKE_LIVE, heal, is_marked
from service.adapters.postgres.locks import blob_lock
from service.adapters.postgres.log import PLACE
from service.adapters.postgres.rows import look_of
from service.adapters.postgres.standing import EPOCH, NEVER_MOVED, published_in, require_standing
from service.domain.blob import MediaInfo, Sha256
from service.domain.errors import NotFound, OnHold, Unavailable
from service.domain.health import Health
from service.observability import observed
from service.ports.descriptors import ServableBytes
from service.ports.moves import Standing
from service.ports.objects import Reservation
from service.ports.renditions import PublishedRendition, Rendition, RenditionKey

_FIND = """
SELECT b.sha256, b.size, b.media_type, b.health, o.key, (SELECT status FROM holds WHERE blob_id = b.id) AS hold
FROM blobs parent JOIN renditions r ON r.parent_id = parent.id
JOIN blobs b ON b.id = coalesce(r.blob_id, r.parent_id) JOIN objects o ON o.id = b.object_id
WHERE parent.sha256 = $1 AND r.definition = $2 AND r.format = $3 AND (b.health = 'ok' OR r.blob_id IS NULL)
"""
_FIND_ALL = """
SELECT asked.place, b.sha256, b.size, b.media_type, b.health, o.key,
    (SELECT status FROM holds WHERE blob_id = b.id) AS hold
FROM unnest($1::bytea[], $2::text[], $3::text[]) WITH ORDINALITY AS asked (parent, definition, format, place)
JOIN blobs parent ON parent.sha256 = asked.parent
JOIN renditions r ON (r.parent_id, r.definition, r.format) = (parent.id, asked.definition, asked.format)
JOIN blobs b ON b.id = coalesce(r.blob_id, r.parent_id) JOIN objects o ON o.id = b.object_id
WHERE b.health = 'ok' OR r.blob_id IS NULL
"""
# A claim need not be durable: losing it makes the rendition twice, and the second one gives way.
_CLAIM = """
WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
INSERT INTO rendition_claims AS c (parent, definition, format, until)
SELECT $1, $2, $3, refkeep_now() + $4::interval FROM quick
ON CONFLICT (parent, definition, format) DO UPDATE SET until = EXCLUDED.until WHERE c.until <= refkeep_now()
RETURNING 1
"""
_PROLONG = """
UPDATE rendition_claims SET until = refkeep_now() + $4::interval WHERE parent = $1 AND definition = $2 AND format = $3
"""
_DISCLAIM = "DELETE FROM rendition_claims WHERE parent = $1 AND definition = $2 AND format = $3"
# The object's row is locked, then read. `r` is what was published before: it stands where its own blob can be served.
_LOAD = f"""
SELECT refkeep_now() AS now, {PLACE}, o.state, {EPOCH}, parent.id AS parent_id, b.id AS blob_id, b.object_id, b.health,
    EXISTS (SELECT FROM holdings WHERE blob_id = parent.id) AS is_held,
    EXISTS (SELECT FROM holds WHERE sha256 = $5) AS on_hold,
    r.parent_id IS NOT NULL AND coalesce(shown.health, 'ok') = 'ok' AS is_made
FROM objects o
LEFT JOIN blobs parent ON parent.sha256 = $1
LEFT JOIN renditions r ON r.parent_id = parent.id AND r.definition = $2 AND r.format = $3
LEFT JOIN blobs shown ON shown.id = r.blob_id
LEFT JOIN blobs b ON b.sha256 = $5
WHERE o.id = $4 FOR UPDATE OF o
"""
_SPARE = "UPDATE objects SET state = 'condemned', delete_after = refkeep_now() WHERE id = $1 AND state = 'pending'"
_SHOW = """
INSERT INTO blobs (sha256, size, media_type, width, height, frames, duration_ms, readable, thumbhash, colour, aspect,
    object_id, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING id
"""
_KEEP = """
INSERT INTO renditions (parent_id, definition, format, blob_id, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (parent_id, definition, format) DO UPDATE SET blob_id = EXCLUDED.blob_id, created_at = EXCLUDED.created_at
"""
# Definitions are few and renditions many: each definition is found by a jump in its index.
_KNOWN = """
WITH RECURSIVE known AS (
    (SELECT definition FROM renditions ORDER BY definition LIMIT 1)
    UNION ALL
    SELECT (SELECT r.definition FROM renditions r WHERE r.definition > known.definition ORDER BY r.definition LIMIT 1)
    FROM known WHERE known.definition IS NOT NULL)
"""
_COUNT_STALE = f"""{_KNOWN}
SELECT count(*) FROM (
    SELECT FROM known CROSS JOIN LATERAL (
        SELECT FROM renditions r
        WHERE r.definition = known.definition AND r.created_at <= (SELECT refkeep_now()) - $2::interval) AS old
    WHERE known.definition <> ALL ($1::text[]) LIMIT 100000) AS stale
"""
_DROP_STALE = f"""{_KNOWN},
stale AS (
    SELECT old.parent_id, old.definition, old.format FROM known CROSS JOIN LATERAL (
        SELECT * FROM renditions r
        WHERE r.definition = known.definition AND r.created_at <= (SELECT refkeep_now()) - $2::interval
        ORDER BY r.created_at LIMIT $3 FOR UPDATE SKIP LOCKED) AS old
    WHERE known.definition <> ALL ($1::text[]) LIMIT $3),
ended AS (
    DELETE FROM rendition_claims WHERE until <= (SELECT refkeep_now()))
DELETE FROM renditions r USING stale
WHERE (r.parent_id, r.definition, r.format) = (stale.parent_id, stale.definition, stale.format)
RETURNING 1
"""


@dataclass(frozen=True, slots=True)
class PostgresRenditions:
    """`Renditions` on Postgres. `standing` is that of the store into which this process puts what it publishes."""

    database: Database
    standing: Standing = NEVER_MOVED
    _finds: Gathering[RenditionKey, Rendition | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """All who look while others do share the next statement."""
        object.__setattr__(self, "_finds", Gathering(self._find_all))

    @observed("renditions.find", layer="repo", span_name="SELECT renditions")
    async def find(self, key: RenditionKey) -> Rendition | None:
        """See the port."""
        return await self._finds.ask(key)

    @observed("renditions.claim", layer="repo", span_name="INSERT rendition_claims")
    async def claim(self, key: RenditionKey, claim_for: timedelta) -> bool:
        """See the port."""
        return await self.database.fetchrow(_CLAIM, *_columns(key), claim_for) is not None

    @observed("renditions.prolong", layer="repo", span_name="UPDATE rendition_claims")
    async def prolong(self, key: RenditionKey, claim_for: timedelta) -> None:
        """See the port."""
        await self.database.fetchrow(_PROLONG, *_columns(key), claim_for)

    @observed("renditions.disclaim", layer="repo", span_name="DELETE rendition_claims")
    async def disclaim(self, key: RenditionKey) -> None:
        """See the port."""
        await self.database.fetchrow(_DISCLAIM, *_columns(key))

    @observed("renditions.publish", layer="repo", span_name="WRITE renditions")
    async def publish(self, key: RenditionKey, reservation: Reservation, media: MediaInfo) -> PublishedRendition:
        """See the port."""
        publish = partial(attempt, self.database, "", None, lambda: self._publish(key, reservation, media))
        return await published_in(self.standing, publish)

    @observed("renditions.count_stale", layer="repo", span_name="SELECT renditions")
    async def count_stale(self, current: Collection[str], min_age: timedelta) -> int:
        """See the port."""
        [row] = await self.database.fetch(_COUNT_STALE, sorted(current), min_age)
        return int(row[0])

    @observed("renditions.drop_stale", layer="repo", span_name="DELETE renditions")
    async def drop_stale(self, current: Collection[str], min_age: timedelta, limit: int) -> int:
        """See the port."""
        return len(await self.database.fetch(_DROP_STALE, sorted(current), min_age, limit))

    async def _find_all(self, keys: Sequence[RenditionKey]) -> list[Rendition | None]:
        different = list(dict.fromkeys(keys))
        columns = [list(column) for column in zip(*(_columns(key) for key in different), strict=True)]
        rows = await self.database.fetch(_FIND_ALL, *columns)
        found = {different[row["place"] - 1]: _to_rendition(row) for row in rows}
        return [found.get(key) for key in keys]

    async def _publish(self, key: RenditionKey, reservation: Reservation, media: MediaInfo) -> PublishedRendition:
        locks = [blob_lock(sha256) for sha256 in sorted({key.parent, reservation.sha256})]
        async with self.database.locked(locks) as connection:
            name = bytes.fromhex(reservation.sha256)
            load = _judged(await connection.fetchrow(_LOAD, *_columns(key), reservation.object_id, name), self.standing)
            object_used = not load["is_made"] and (load["blob_id"] is None or is_marked(load))
            await connection.execute(MAKE_LIVE if object_used else _SPARE, reservation.object_id)
            if not load["is_made"]:
                blob_id = await _shown(connection, load, reservation, media)
                own = None if blob_id == load["parent_id"] else blob_id
                await connection.execute(_KEEP, load["parent_id"], key.definition, key.format, own, load["now"])
            await connection.execute(_DISCLAIM, *_columns(key))
            row = await connection.fetchrow(_FIND, *_columns(key))
            if row is None:
                raise RuntimeError("a rendition that was just published")
            return PublishedRendition(_to_rendition(row), object_used)


def _judged(load: Row | None, standing: Standing) -> Row:
    if load is None or load["state"] != "pending":
        raise Unavailable("The rendition took longer than its lease.")
    require_standing(load, standing)
    if not load["is_held"]:
        raise NotFound("Nobody holds the blob that this was made of.")
    if load["on_hold"]:
        raise OnHold
    return load


async def _shown(connection: Connection, load: Row, reservation: Reservation, media: MediaInfo) -> int:
    """The blob that shows these bytes: the object's, or the one that was there, which the object heals if need be."""
    if load["blob_id"] is None:
        name, size = bytes.fromhex(reservation.sha256), reservation.size
        placed = (*look_of(media), reservation.object_id, load["now"])
        blob_id: int = await connection.fetchval(_SHOW, name, size, *placed)
        return blob_id
    if is_marked(load):
        await heal(connection, load, reservation.sha256, reservation.object_id)
    found: int = load["blob_id"]
    return found


def _columns(key: RenditionKey) -> tuple[bytes, str, str]:
    return bytes.fromhex(key.parent), key.definition, key.format.value


def _to_rendition(row: Row) -> Rendition:
    name = Sha256(row["sha256"].hex())
    content = ServableBytes(name, row["size"], row["media_type"], row["key"], Health(row["health"]))
    return Rendition(content, row["hold"])
