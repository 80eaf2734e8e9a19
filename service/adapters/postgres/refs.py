"""The ref ledger on Postgres: four round trips for an attach (begin with locks, load, write, commit)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.adapters.postgres.claims import attempt, ordered_locks, replay_of, stored_answer
from service.adapters.postgres.database import Database
from service.adapters.postgres.ref_batch import Batch, BatchRejected
from service.adapters.postgres.ref_loads import Target, is_purged, load, locate, look, outcome_of
from service.adapters.postgres.ref_writes import write_decision
from service.adapters.postgres.rows import RESOLVED_REFS, to_resolved_ref
from service.domain.blob import Sha256
from service.domain.decision import rejected_again
from service.domain.errors import Gone, RefkeepError, Rejected
from service.domain.ref import ResolvedRef
from service.domain.slot import EntityKey
from service.observability import observed
from service.ports.idempotency import Claim, Replay
from service.ports.refs import (
    BatchOutcome,
    Change,
    EntityRefs,
    Question,
    RefOutcome,
    RefQuestion,
    RoleJudge,
    RoleQuestion,
)

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

# In the order of the index: of the refs to one blob there is no end.
OF_BLOB = f"""{RESOLVED_REFS}
WHERE r.workspace_id = $1 AND r.blob_id = (SELECT id FROM blobs WHERE sha256 = $2) ORDER BY r.id LIMIT 500"""


@dataclass(frozen=True, slots=True)
class PostgresRefs:
    """`RefLedger` on Postgres."""

    database: Database

    @observed("refs.change", layer="repo", span_name="WRITE refs")
    async def change(
        self, question: Question, judge: RoleJudge, claim: Claim[RefOutcome] | None = None
    ) -> RefOutcome | Replay:
        """See the port. The rejection is committed before its error is raised."""
        workspace = question.workspace if isinstance(question, RefQuestion) else question.entity.workspace
        workspace_id = await self.database.require_workspace_id(workspace)
        [target] = await self._targets(workspace, workspace_id, [question])
        if isinstance(target, RefkeepError):
            return await self._answered(workspace_id, claim, target)
        result = await self._judged(_Turn(workspace_id, target, judge, claim))
        if result is None:
            raise RuntimeError("a change without an outcome")
        return result

    @observed("refs.change_all", layer="repo", span_name="WRITE refs")
    async def change_all(
        self, workspace: str, changes: Sequence[Change], claim: Claim[BatchOutcome] | None = None
    ) -> BatchOutcome | Replay:
        """See the port. What is found missing before the locks are held is told when its turn comes."""
        workspace_id = await self.database.require_workspace_id(workspace)
        targets = await self._targets(workspace, workspace_id, [change.question for change in changes])
        judges = [change.judge for change in changes]
        batch = Batch(workspace, workspace_id, [*zip(targets, judges, strict=True)], claim)
        try:
            return await attempt(self.database, workspace, claim, lambda: self._together(batch))
        except BatchRejected as rejected:
            refused = rejected
        await self._record(refused)
        raise refused.error

    @observed("refs.rehearse", layer="repo", span_name="SELECT refs")
    async def rehearse(
        self, question: RoleQuestion, judge: RoleJudge, claim: Claim[Any] | None = None
    ) -> Replay | None:
        """See the port."""
        workspace_id = await self.database.require_workspace_id(question.entity.workspace)
        result = await self._judged(_Turn(workspace_id, Target(question), judge, claim, carry_out=False))
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
        async with self.database.connection() as connection:
            row = await connection.fetchrow(f"{RESOLVED_REFS} WHERE r.id = $1 AND w.slug = $2", ref_id, workspace)
            if row is not None:
                return to_resolved_ref(row)
            if await is_purged(connection, ref_id, workspace):
                raise Gone
            return None

    @observed("refs.of_blob", layer="repo", span_name="SELECT refs")
    async def of_blob(self, workspace: str, sha256: Sha256) -> tuple[ResolvedRef, ...]:
        """See the port."""
        workspace_id = await self.database.require_workspace_id(workspace)
        rows = await self.database.fetch(OF_BLOB, workspace_id, bytes.fromhex(sha256))
        return tuple(to_resolved_ref(row) for row in rows)

    async def _targets(
        self, workspace: str, workspace_id: int, questions: Sequence[Question]
    ) -> list[Target | RefkeepError]:
        if not any(isinstance(question, RefQuestion) for question in questions):
            return [Target(question) for question in questions if not isinstance(question, RefQuestion)]
        async with self.database.connection() as connection:
            return await locate(connection, workspace, workspace_id, questions)

    async def _answered(self, workspace_id: int, claim: Claim[RefOutcome] | None, error: RefkeepError) -> Replay:
        """The answer to a request that was carried out when its ref was still there; else its error."""
        async with self.database.connection() as connection:
            replay = await stored_answer(connection, workspace_id, claim)
        if replay is None:
            raise error
        return replay

    async def _judged(self, turn: _Turn) -> RefOutcome | Replay | None:
        workspace = turn.target.entity.workspace
        result, error = await attempt(self.database, workspace, turn.claim, lambda: self._transaction(turn))
        if error is not None:
            raise error
        return result

    async def _transaction(self, turn: _Turn) -> tuple[RefOutcome | Replay | None, Rejected | None]:
        target, claim = turn.target, turn.claim
        locks = ordered_locks(target.entity.workspace, claim, [target.entity], target.hashes)
        async with self.database.locked(locks) as connection:
            row = await load(connection, turn.workspace_id, target, None if claim is None else claim.key)
            if (replay := replay_of(row, claim)) is not None:
                return replay, None
            loaded = await look(connection, turn.workspace_id, target, row)
            decision = turn.judge(loaded.state)
            if decision.error is None and not turn.carry_out:
                return None, None
            outcome = outcome_of(target, loaded, decision)
            await write_decision(connection, turn.workspace_id, row, decision, (claim, outcome))
            return outcome, decision.error

    async def _record(self, rejected: BatchRejected) -> None:
        """Put the reject that ended a batch on record; raises it."""
        target, decision = rejected.target, rejected.decision
        rejected.error.index = rejected.index
        question = RoleQuestion(target.entity, target.question.role, None, None)
        await self.change(question, lambda state: rejected_again(state, decision))

    async def _together(self, batch: Batch) -> BatchOutcome | Replay:
        async with self.database.locked(batch.locks()) as connection:
            return await batch.run(connection)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One change with all that its transaction needs."""

    workspace_id: int
    target: Target
    judge: RoleJudge
    claim: Claim[RefOutcome] | None
    carry_out: bool = True
