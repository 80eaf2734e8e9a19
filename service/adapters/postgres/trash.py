"""The end of the trash on Postgres: what is due goes in batches that wait for nobody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from service.adapters.postgres.database import Connection, Database, Row
from service.adapters.postgres.locks import blob_lock, entity_lock
from service.adapters.postgres.log import PLACE, event_columns, event_place
from service.adapters.postgres.ref_writes import write_together
from service.adapters.postgres.rows import RESOLVED_REFS, to_resolved_ref
from service.domain.decision import RoleState
from service.domain.event import RefEvent
from service.domain.ref import Ref
from service.domain.slot import EntityKey
from service.observability import observed
from service.ports.refs import RoleJudge
from service.ports.trash import TOMBSTONE

# The clock is asked in a subquery: once for all rows, which become events of one time, and so that an index is used.
# The limit is no parameter: a plan that knows how few rows are wanted reads that index in its order.
_DUE = f"""{RESOLVED_REFS}
WHERE r.state = 'trashed' AND r.purge_after <= (SELECT refkeep_now()) ORDER BY r.purge_after"""
_TRY = """SELECT id, pg_try_advisory_xact_lock(entity) AND pg_try_advisory_xact_lock(blob) AS is_free
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS due (id, entity, blob)"""
_AGAIN = f"""SELECT (SELECT refkeep_now()) AS now, {PLACE}, e.version, w.id AS own_id, found.*
FROM ({RESOLVED_REFS} WHERE r.id = ANY ($1::uuid[])) AS found
JOIN workspaces w ON w.slug = found.workspace
JOIN entities e ON e.workspace_id = w.id AND e.entity_type = found.entity_type AND e.entity_id = found.entity_id
ORDER BY found.purge_after, found.id"""
_FORGET = """DELETE FROM tombstones WHERE ctid = ANY (ARRAY (
    SELECT ctid FROM tombstones WHERE purged_at <= (SELECT refkeep_now()) - $2::interval
    ORDER BY purged_at LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING 1"""


@dataclass(frozen=True, slots=True)
class PostgresTrash:
    """`Trash` on Postgres."""

    database: Database

    @observed("trash.purge_due", layer="repo", span_name="DELETE refs")
    async def purge_due(self, limit: int, judge: RoleJudge) -> int:
        """See the port. Locks first, then a look at what is locked in a new statement."""
        due = [to_resolved_ref(row).ref for row in await self.database.fetch(f"{_DUE} LIMIT {limit:d}")]
        if not due:
            return 0
        async with self.database.locked(()) as connection:
            rows = await connection.fetch(_AGAIN, await _locked(connection, due))
            events = _judged(rows, judge)
            await _write(connection, rows, events)
            return len(events)

    @observed("trash.forget_tombstones", layer="repo", span_name="DELETE tombstones")
    async def forget_tombstones(self, limit: int) -> int:
        """See the port."""
        return len(await self.database.fetch(_FORGET, limit, TOMBSTONE))


async def _locked(connection: Connection, due: Sequence[Ref]) -> list[object]:
    """The ids of those that nobody else is changing; now only we can."""
    entities, blobs = [entity_lock(ref.entity) for ref in due], [blob_lock(ref.sha256) for ref in due]
    tried = await connection.fetch(_TRY, [ref.ref_id for ref in due], entities, blobs)
    return [row["id"] for row in tried if row["is_free"]]


def _judged(rows: Sequence[Row], judge: RoleJudge) -> list[RefEvent]:
    """What the judge says of each; an entity's version grows from one to the next."""
    versions: dict[EntityKey, int] = {}
    events: list[RefEvent] = []
    for row in rows:
        ref = to_resolved_ref(row).ref
        version = versions.setdefault(ref.entity, row["version"])
        decided = judge(RoleState(row["now"], version, 0, None, None, ref)).events
        versions[ref.entity] = version + len(decided)
        events.extend(decided)
    return events


async def _write(connection: Connection, rows: Sequence[Row], events: Sequence[RefEvent]) -> None:
    own_ids = {row["workspace"]: row["own_id"] for row in rows}
    by_workspace: dict[int, list[tuple[RefEvent, tuple[object, ...]]]] = defaultdict(list)
    for number, event in enumerate(events):
        workspace_id = own_ids[event.entity.workspace]
        columns = event_columns(event_place(rows[0], number), event, workspace_id)
        by_workspace[workspace_id].append((event, columns))
    for workspace_id, written in by_workspace.items():
        await write_together(connection, workspace_id, [event for event, _ in written], [row for _, row in written])
