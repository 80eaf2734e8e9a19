"""Several changes of refs in one transaction, one after the other, each seeing what those before it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from service.adapters.postgres.claims import ordered_locks, store_answer, stored_answer
from service.adapters.postgres.database import Connection
from service.adapters.postgres.ref_loads import Target, load, look, outcome_of
from service.adapters.postgres.ref_writes import write_decision
from service.domain.decision import Decision
from service.domain.errors import RefkeepError, Rejected, operation
from service.domain.slot import EntityKey
from service.ports.idempotency import Claim, Replay
from service.ports.refs import BatchOutcome, RefOutcome, RoleJudge

Step = tuple[Target | RefkeepError, RoleJudge]
"""What a change is about, or why there is no such thing; and its judge."""


class BatchRejected(RefkeepError):
    """Ends a batch whose transaction must be rolled back before the reject of `decision` goes on record."""

    def __init__(self, target: Target, decision: Decision, error: Rejected) -> None:
        super().__init__(str(error))
        self.target, self.decision, self.error = target, decision, error


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes that are carried out together; the answer to all of them is kept for `claim`."""

    workspace: str
    workspace_id: int
    steps: Sequence[Step]
    claim: Claim[BatchOutcome] | None

    def locks(self) -> list[int]:
        """Of all that is changed, taken before anything is."""
        targets = [target for target, _ in self.steps if isinstance(target, Target)]
        hashes = [sha256 for target in targets for sha256 in target.hashes]
        return ordered_locks(self.workspace, self.claim, [target.entity for target in targets], hashes)

    async def run(self, connection: Connection) -> BatchOutcome | Replay:
        """All of it, within a transaction that holds the locks; errors have their `index`. Raises `BatchRejected`."""
        if (replay := await stored_answer(connection, self.workspace_id, self.claim)) is not None:
            return replay
        course = _Course(connection, self.workspace_id)
        for index, (target, judge) in enumerate(self.steps):
            with operation(index):
                await course.take(target, judge)
        outcomes = tuple(course.outcomes)
        await store_answer(connection, self.workspace_id, self.claim, outcomes)
        return outcomes


@dataclass(slots=True)
class _Course:
    """How far a batch has come: the place of its next event, the versions before it, the one time of all it does."""

    connection: Connection
    workspace_id: int
    outcomes: list[RefOutcome] = field(default_factory=list)
    seq: int = 0
    now: datetime | None = None
    began_at: dict[EntityKey, int] = field(default_factory=dict)

    async def take(self, target: Target | RefkeepError, judge: RoleJudge) -> None:
        if isinstance(target, RefkeepError):
            raise target
        row = await load(self.connection, self.workspace_id, target, None)
        loaded = await look(self.connection, self.workspace_id, target, row)
        self.now = self.now or loaded.state.now
        began_at = self.began_at.setdefault(target.entity, loaded.state.version)
        decision = judge(replace(loaded.state, now=self.now, began_at=began_at))
        if decision.error is not None:
            raise BatchRejected(target, decision, decision.error)
        outcome = outcome_of(target, loaded, decision, self.seq)
        await write_decision(self.connection, self.workspace_id, row, decision, (None, outcome), self.seq)
        self.outcomes.append(outcome)
        self.seq += len(decision.events)
