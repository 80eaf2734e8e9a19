"""Objects without a row come back, on Postgres."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from service.adapters.postgres.claims import attempt
from service.adapters.postgres.database import Connection, Database, Row
from service.adapters.postgres.healing import MAKE_LIVE, heal, is_marked
from service.adapters.postgres.locks import blob_lock
from service.adapters.postgres.log import INSERT_EVENT, PLACE, event_columns, event_place
from service.adapters.postgres.rows import look_of
from service.domain.event import HoldingEvent
from service.domain.holding_decision import HoldingState
from service.observability import observed
from service.ports.adoption import Adopted, Stray
from service.ports.blobs import HoldingJudge

_LOAD = f"""
SELECT refkeep_now() AS now, {PLACE}, b.id AS blob_id, b.object_id, b.health,
    EXISTS (SELECT FROM objects WHERE key = $2) AS known, EXISTS (SELECT FROM holds WHERE sha256 = $1) AS on_hold
FROM (SELECT 1) AS one LEFT JOIN blobs b ON b.sha256 = $1
"""
_RESERVE = "INSERT INTO objects (key, sha256, size, lease_until) VALUES ($1, $2, $3, $4) RETURNING id"
_BLOB = """
INSERT INTO blobs (sha256, size, media_type, width, height, frames, duration_ms, readable, thumbhash, colour, aspect,
    object_id, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING id
"""
_KEEP_HOLD = "UPDATE holds SET blob_id = $2 WHERE sha256 = $1"
_REVIEW = "INSERT INTO blob_reviews (blob_id, due) VALUES ($1, refkeep_now() + $2::interval)"
_QUOTA = """
UPDATE workspaces SET used_bytes = used_bytes + $2, used_items = used_items + 1
WHERE id = $1 AND (max_bytes IS NULL OR used_bytes + $2 <= max_bytes)
    AND (max_items IS NULL OR used_items + 1 <= max_items)
RETURNING 1
"""
_HOLD = "INSERT INTO holdings (workspace_id, blob_id, acquired_at, lease_until) VALUES ($1, $2, $3, $4)"
_EVENT = f"{INSERT_EVENT} VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"


@dataclass(frozen=True, slots=True)
class PostgresAdoption:
    """`Adoption` on Postgres."""

    database: Database

    @observed("objects.adopt", layer="repo", span_name="WRITE objects")
    async def adopt(self, stray: Stray, workspace: str | None, judge: HoldingJudge, keep_for: timedelta) -> Adopted:
        """See the port."""
        workspace_id = None if workspace is None else await self.database.require_workspace_id(workspace)
        return await attempt(self.database, "", None, lambda: self._adopt(stray, workspace_id, judge, keep_for))

    async def _adopt(self, stray: Stray, workspace_id: int | None, judge: HoldingJudge, keep_for: timedelta) -> Adopted:
        name = bytes.fromhex(stray.sha256)
        async with self.database.locked([blob_lock(stray.sha256)]) as connection:
            load = await connection.fetchrow(_LOAD, name, stray.key)
            if load is None:
                raise RuntimeError("a load without a row")
            if load["known"]:
                return Adopted.KNOWN
            if load["blob_id"] is not None and not is_marked(load):
                return Adopted.SPARE
            object_id = await connection.fetchval(_RESERVE, stray.key, name, stray.size, load["now"])
            await connection.execute(MAKE_LIVE, object_id)
            if load["blob_id"] is not None:
                await heal(connection, load, stray.sha256, object_id)
                return Adopted.HEALED
            blob_id = await _show(connection, stray, object_id, load)
            event = (
                None if workspace_id is None else judge(HoldingState(load["now"], None, stray.size, load["on_hold"]))
            )
            if event is None or not await _hold(connection, load, event, workspace_id, blob_id):
                await connection.execute(_REVIEW, blob_id, keep_for)
            return Adopted.ADOPTED


async def _show(connection: Connection, stray: Stray, object_id: int, load: Row) -> int:
    """A blob that shows the object; a hold of its bytes holds it too."""
    name = bytes.fromhex(stray.sha256)
    blob_id: int = await connection.fetchval(_BLOB, name, stray.size, *look_of(stray.media), object_id, load["now"])
    await connection.execute(_KEEP_HOLD, name, blob_id)
    return blob_id


async def _hold(connection: Connection, load: Row, event: HoldingEvent, workspace_id: int | None, blob_id: int) -> bool:
    """The workspace's holding, charged and on record; False where its quota has no room."""
    holding = event.holding
    if await connection.fetchval(_QUOTA, workspace_id, holding.size) is None:
        return False
    await connection.execute(_HOLD, workspace_id, blob_id, holding.acquired_at, holding.lease_until)
    await connection.execute(_EVENT, *event_columns(event_place(load), event, workspace_id))
    return True
