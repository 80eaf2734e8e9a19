"""Refs of entities: read, and changed by decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from service.domain.blob import Sha256
from service.domain.decision import Decision, RoleState
from service.domain.event import DecisionKind
from service.domain.ref import ResolvedRef
from service.domain.slot import EntityKey
from service.ports.idempotency import Claim, Replay

RoleJudge = Callable[[RoleState], Decision]
"""Pure: called once or more inside a transaction that holds the locks of the entity and the hash."""


@dataclass(frozen=True, slots=True)
class RoleQuestion:
    """What the judge must know: the ref at `position` (None: no ref in particular), the blob `sha256` if it is held.

    With `whole` it sees all live refs of the role, or of the entity where `role` is None. `sent` is what `sha256` was
    made of, where that is another blob.
    """

    entity: EntityKey
    role: str | None
    position: int | None
    sha256: Sha256 | None
    whole: bool = False
    sent: Sha256 | None = None


@dataclass(frozen=True, slots=True)
class RefQuestion:
    """What the judge must know: this ref of the workspace, live or trashed, and the one in the place that it had."""

    workspace: str
    ref_id: UUID


Question = RoleQuestion | RefQuestion


@dataclass(frozen=True, slots=True)
class Change:
    """One operation: what its judge must know, and the judge."""

    question: Question
    judge: RoleJudge


@dataclass(frozen=True, slots=True)
class RefOutcome:
    """What became of a request about refs: `version` is the entity's now, `event_id` the last event's, None for a noop.

    `refs` instead of `ref` where a whole role or entity was concerned.
    """

    decision: DecisionKind
    entity: EntityKey
    version: int
    ref: ResolvedRef | None = None
    replaced: ResolvedRef | None = None
    event_id: str | None = None
    refs: tuple[ResolvedRef, ...] | None = None


BatchOutcome = tuple[RefOutcome, ...]
"""What became of each operation of a batch, in their order."""


@dataclass(frozen=True, slots=True)
class EntityRefs:
    """Live refs by role and position: `version` 0 means that the entity never had any, `more` that others follow."""

    version: int
    refs: tuple[ResolvedRef, ...]
    more: bool = False


class RefLedger(Protocol):
    """Every change is one transaction: locks, one load, the judge, one write with its events, commit."""

    async def change(
        self, question: Question, judge: RoleJudge, claim: Claim[RefOutcome] | None = None
    ) -> RefOutcome | Replay:
        """Judge and carry out. A reject is recorded, then its error is raised; a judge's own exception changes nothing.

        Raises `NotFound` for a ref that is not the workspace's, `Gone` for a purged one (both after a look for the
        claim's answer), `IdempotencyKeyReuse`, `IdempotencyInProgress`, `Unavailable`.
        """

    async def change_all(
        self, workspace: str, changes: Sequence[Change], claim: Claim[BatchOutcome] | None = None
    ) -> BatchOutcome | Replay:
        """Judge and carry out in this order, in one transaction and at one time: each judge sees what was done before.

        All of them or none: the first that is refused, rejected or not found ends it, its error has the `index`, and
        nothing has changed but the record of a reject. Raises what `change` raises.
        """

    async def rehearse(
        self, question: RoleQuestion, judge: RoleJudge, claim: Claim[Any] | None = None
    ) -> Replay | None:
        """Judge as `change` does and carry out nothing, except that a reject is recorded and raised.

        Returns the answer of a request that was carried out before with the same key, of a batch, too, else None.
        """

    async def of_entity(
        self, entity: EntityKey, role: str | None = None, after: tuple[str, int] = ("", 0), limit: int = 500
    ) -> EntityRefs:
        """At most `limit` live refs behind the place `after` (role, position), of one role or all.

        An unknown entity has version 0 and none.
        """

    async def find(self, workspace: str, ref_id: UUID) -> ResolvedRef | None:
        """The ref, live or trashed, if it is this workspace's. Raises `Gone` for one that was purged."""

    async def of_blob(self, workspace: str, sha256: Sha256) -> tuple[ResolvedRef, ...]:
        """This workspace's refs to a blob, live and trashed, oldest first; at most 500."""
