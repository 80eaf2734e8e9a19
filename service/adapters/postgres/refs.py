"""The ref ledger on Postgres: four round trips a change (begin with locks, load, write, commit)."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from service.adapters.postgres.claims import attempt, claim_lock, claim_parameters, replay_of
from service.adapters.postgres.database import Connection, Database, Row
from service.adapters.postgres.locks import lock_of
from service.adapters.postgres.log import INSERT_EVENT, PLACE, WRITE, event_columns, event_place
from service.adapters.postgres.rows import ASKED_BLOB_COLUMNS, BLOB_COLUMNS, RESOLVED_REFS, to_blob, to_resolved_ref
from service.domain.blob import Sha256
from service.domain.decision import Decision, RoleState
from service.domain.errors import BlobNotHeld, Rejected
from service.domain.event import EventType, RefEvent
from service.domain.ref import Ref, ResolvedRef
from service.domain.slot import EntityKey
from service.observability import observed
from service.ports.idempotency import Claim, Replay
from service.ports.refs import EntityRefs, RefOutcome, RoleJudge, RoleQuestion

_LOAD = f"""
SELECT refkeep_now() AS now, {PLACE}, coalesce(e.version, 0) AS version, coalesce(last.position + 1, 0) AS count,
    i.fingerprint, i.answer, {ASKED_BLOB_COLUMNS}, occupant.*
FROM (SELECT 1) AS one
LEFT JOIN entities e ON e.workspace_id = $1 AND e.entity_type = $2 AND e.entity_id = $3
LEFT JOIN LATERAL (
    SELECT position FROM refs
    WHERE workspace_id = $1 AND entity_type = $2 AND entity_id = $3 AND role = $4 AND position IS NOT NULL
    ORDER BY position DESC LIMIT 1
) AS last ON true
LEFT JOIN idempotency i ON i.workspace_id = $1 AND i.key = $5
LEFT JOIN (
    SELECT {BLOB_COLUMNS} FROM blobs b JOIN holdings h ON h.blob_id = b.id WHERE h.workspace_id = $1 AND b.sha256 = $6
) AS asked ON true
LEFT JOIN (
    {RESOLVED_REFS}
    WHERE r.workspace_id = $1 AND r.entity_type = $2 AND r.entity_id = $3 AND r.role = $4 AND r.position = $7
) AS occupant ON true
"""

_OF_ENTITY = f"""
SELECT e.version, live.* FROM entities e JOIN workspaces own ON own.id = e.workspace_id
LEFT JOIN LATERAL (
    {RESOLVED_REFS}
    WHERE r.workspace_id = e.workspace_id AND r.entity_type = e.entity_type AND r.entity_id = e.entity_id
        AND r.position IS NOT NULL AND ($4::text IS NULL OR r.role = $4) AND (r.role, r.position) > ($5, $6)
    ORDER BY r.role, r.position LIMIT $7
) AS live ON true
WHERE own.slug = $1 AND e.entity_type = $2 AND e.entity_id = $3
ORDER BY live.role, live.position"""

# Every write takes the same first parameters, so that its parts can be put together:
# $1-$12 the event's columns, $13-$15 the claim, $16 the entity's version, $17 role.
_ENTITY = """entity AS (
    INSERT INTO entities (workspace_id, entity_type, entity_id, version) VALUES ($7, $8, $9, $16)
    ON CONFLICT (workspace_id, entity_type, entity_id) DO UPDATE SET version = EXCLUDED.version)"""
_COMMON = f"{WRITE}, {_ENTITY}"
_INSERT_REF = """INSERT INTO refs (id, workspace_id, entity_type, entity_id, role, position, state, visibility, blob_id,
        filename, alt, owner, created_at)
    VALUES ($10, $7, $8, $9, $17, $18, 'live', $19, (SELECT id FROM blobs WHERE sha256 = $11), $20, $21, $22, $4)"""
_TRASH = """UPDATE refs SET state = 'trashed', former_position = position, position = NULL,
        trashed_at = {trashed_at}, purge_after = {purge_after}
    WHERE id = {ref_id}"""
_SHIFT = """UPDATE refs SET position = position {by}
    WHERE workspace_id = $7 AND entity_type = $8 AND entity_id = $9 AND role = $17 AND position {which}"""

_INSERTED = f"{_COMMON}, shifted AS ({_SHIFT.format(by='+ 1', which='>= $18')}) {_INSERT_REF}"
_REPLACED = f"""{_COMMON},
trashed AS ({_TRASH.format(ref_id="$23", trashed_at="$4", purge_after="$24")})
{_INSERT_REF}"""
_UPDATED = f"""{_COMMON}
UPDATE refs SET visibility = $18, filename = $19, alt = $20, owner = $21 WHERE id = $10 AND role = $17"""
_RELEASED = f"""{_COMMON},
shifted AS ({_SHIFT.format(by="- 1", which="> $18")})
{_TRASH.format(ref_id="$10", trashed_at="$4", purge_after="$19")}"""
_NOOP = """INSERT INTO idempotency (workspace_id, key, fingerprint, answer, created_at) VALUES ($1, $2, $3, $4, $5)"""
_REJECTED = f"""
WITH fresh AS (
    INSERT INTO rejections AS r (actor, workspace_id, entity_type, entity_id, code, recorded_at)
    VALUES ($13, $7, $8, $9, $14, $4)
    ON CONFLICT (actor, workspace_id, entity_type, entity_id, code) DO UPDATE SET recorded_at = EXCLUDED.recorded_at
        WHERE r.recorded_at <= EXCLUDED.recorded_at - interval '1 minute'
    RETURNING 1)
{INSERT_EVENT} SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 FROM fresh"""


@dataclass(frozen=True, slots=True)
class PostgresRefs:
    """`RefLedger` on Postgres."""

    database: Database

    @observed("refs.change", layer="repo", span_name="WRITE refs")
    async def change(
        self, question: RoleQuestion, judge: RoleJudge, claim: Claim[RefOutcome] | None = None
    ) -> RefOutcome | Replay:
        """See the port. The rejection is committed before its error is raised."""
        result = await self._judged(question, judge, claim, carry_out=True)
        if result is None:
            raise RuntimeError("a change without an outcome")
        return result

    @observed("refs.rehearse", layer="repo", span_name="SELECT refs")
    async def rehearse(
        self, question: RoleQuestion, judge: RoleJudge, claim: Claim[RefOutcome] | None = None
    ) -> Replay | None:
        """See the port."""
        result = await self._judged(question, judge, claim, carry_out=False)
        return result if isinstance(result, Replay) else None

    @observed("refs.of_entity", layer="repo", span_name="SELECT refs")
    async def of_entity(
        self, entity: EntityKey, role: str | None = None, after: tuple[str, int] = ("", 0), limit: int = 500
    ) -> EntityRefs:
        """See the port: one statement, so that version and refs belong together."""
        rows = await self.database.fetch(_OF_ENTITY, entity.workspace, entity.type, entity.id, role, *after, limit + 1)
        refs = tuple(to_resolved_ref(row) for row in rows if row["id"] is not None)
        return EntityRefs(rows[0]["version"] if rows else 0, refs[:limit], len(refs) > limit)

    @observed("refs.find", layer="repo", span_name="SELECT refs")
    async def find(self, workspace: str, ref_id: UUID) -> ResolvedRef | None:
        """See the port."""
        row = await self.database.fetchrow(f"{RESOLVED_REFS} WHERE r.id = $1 AND w.slug = $2", ref_id, workspace)
        return None if row is None else to_resolved_ref(row)

    @observed("refs.of_blob", layer="repo", span_name="SELECT refs")
    async def of_blob(self, workspace: str, sha256: Sha256) -> tuple[ResolvedRef, ...]:
        """See the port."""
        rows = await self.database.fetch(
            f"{RESOLVED_REFS} WHERE w.slug = $1 AND b.sha256 = $2 ORDER BY r.created_at, r.id LIMIT 500",
            workspace,
            bytes.fromhex(sha256),
        )
        return tuple(to_resolved_ref(row) for row in rows)

    async def _judged(
        self, question: RoleQuestion, judge: RoleJudge, claim: Claim[RefOutcome] | None, *, carry_out: bool
    ) -> RefOutcome | Replay | None:
        workspace = question.entity.workspace
        turn = _Turn(await self.database.require_workspace_id(workspace), question, judge, claim, carry_out)
        result, error = await attempt(self.database, workspace, claim, lambda: self._transaction(turn))
        if error is not None:
            raise error
        return result

    async def _transaction(self, turn: _Turn) -> tuple[RefOutcome | Replay | None, Rejected | None]:
        async with self.database.locked(turn.locks()) as connection:
            load = await connection.fetchrow(_LOAD, *turn.load_parameters())
            if load is None:
                raise RuntimeError("a load without a row")
            if (replay := replay_of(load, turn.claim)) is not None:
                return replay, None
            occupant = None if load["id"] is None else to_resolved_ref(load)
            decision = turn.judge(_role_state(load, occupant))
            if decision.error is None and not turn.carry_out:
                return None, None
            return await _carry_out(connection, turn, load, occupant, decision), decision.error


@dataclass(frozen=True, slots=True)
class _Turn:
    """One change with all that its transaction needs."""

    workspace_id: int
    question: RoleQuestion
    judge: RoleJudge
    claim: Claim[RefOutcome] | None
    carry_out: bool

    def locks(self) -> list[int]:
        """The key's lock, the entity's, the hash's: in this order everywhere, so that nobody waits in a circle."""
        entity, sha256 = self.question.entity, self.question.sha256
        locks = claim_lock(entity.workspace, self.claim)
        locks.append(lock_of("entity", entity.workspace, entity.type, entity.id))
        return locks if sha256 is None else [*locks, lock_of("blob", sha256)]

    def load_parameters(self) -> tuple[object, ...]:
        """$1-$7 of the load."""
        question = self.question
        entity, sha256 = question.entity, question.sha256
        key = None if self.claim is None else self.claim.key
        asked = None if sha256 is None else bytes.fromhex(sha256)
        return self.workspace_id, entity.type, entity.id, question.role, key, asked, question.position


def _role_state(load: Row, occupant: ResolvedRef | None) -> RoleState:
    return RoleState(
        load["now"],
        load["version"],
        load["count"],
        None if occupant is None else occupant.ref,
        None if load["asked_sha256"] is None else to_blob(load, "asked_"),
    )


async def _carry_out(
    connection: Connection, turn: _Turn, load: Row, occupant: ResolvedRef | None, decision: Decision
) -> RefOutcome:
    event = decision.event
    place = event_place(load)
    outcome = _outcome(turn, load, occupant, decision, None if event is None else str(place))
    if event is None:
        if turn.claim is not None:
            await connection.execute(_NOOP, turn.workspace_id, *claim_parameters(turn.claim, outcome), load["now"])
        return outcome
    columns = event_columns(place, event, turn.workspace_id)
    try:
        if event.type is EventType.REF_REJECTED:
            await connection.execute(_REJECTED, *columns, event.actor.id, event.code)
        else:
            common = (*columns, *claim_parameters(turn.claim, outcome), event.version, event.role)
            statement, parameters = _write(event, common)
            await connection.execute(statement, *parameters)
    except asyncpg.ForeignKeyViolationError as error:
        if error.constraint_name == "refs_holding_fkey":
            raise BlobNotHeld(event.sha256 or "") from error
        raise
    return outcome


def _write(event: RefEvent, common: tuple[object, ...]) -> tuple[str, tuple[object, ...]]:
    """The statement of an event and its parameters: what `evolve` says of it, in SQL."""
    ref = event.ref
    if ref is None:
        raise ValueError(f"{event.type} without its ref")
    labels = (ref.labels.filename, ref.labels.alt, ref.labels.owner)
    match event.type:
        case EventType.REF_INSERTED:
            return _INSERTED, (*common, ref.position, ref.visibility.value, *labels)
        case EventType.REF_REPLACED if event.replaced is not None:
            replaced = (event.replaced.ref_id, event.replaced.purge_after)
            return _REPLACED, (*common, ref.position, ref.visibility.value, *labels, *replaced)
        case EventType.REF_UPDATED:
            return _UPDATED, (*common, ref.visibility.value, *labels)
        case EventType.REF_RELEASED:
            return _RELEASED, (*common, ref.former_position, ref.purge_after)
        case _:
            raise ValueError(f"{event.type} changes no ref, or lacks what it replaced")


def _outcome(
    turn: _Turn, load: Row, occupant: ResolvedRef | None, decision: Decision, event_id: str | None
) -> RefOutcome:
    version = load["version"] if decision.event is None else decision.event.version
    replaced = None if decision.replaced is None else _resolve(decision.replaced, load, occupant)
    ref = None if decision.ref is None else _resolve(decision.ref, load, occupant)
    return RefOutcome(decision.kind, turn.question.entity, version, ref, replaced, event_id)


def _resolve(ref: Ref, load: Row, occupant: ResolvedRef | None) -> ResolvedRef:
    """A decided ref is of the occupant's blob or of the one asked for."""
    if occupant is not None and ref.sha256 == occupant.ref.sha256:
        return ResolvedRef(ref, occupant.blob)
    return ResolvedRef(ref, to_blob(load, "asked_"))
