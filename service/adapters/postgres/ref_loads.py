"""What a judge of refs gets to see, loaded once the locks are held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from service.adapters.postgres.database import Connection, Row
from service.adapters.postgres.log import PLACE, event_place
from service.adapters.postgres.rows import ASKED_BLOB_COLUMNS, BLOB_COLUMNS, RESOLVED_REFS, to_blob, to_resolved_ref
from service.domain.blob import Blob, Sha256
from service.domain.decision import Decision, RoleState
from service.domain.errors import Gone, NotFound, RefkeepError
from service.domain.ref import Ref, ResolvedRef
from service.domain.slot import EntityKey
from service.ports.refs import Question, RefOutcome, RefQuestion, RoleQuestion
from service.ports.trash import TOMBSTONE

_LOAD = f"""
SELECT refkeep_now() AS now, {PLACE}, coalesce(e.version, 0) AS version, coalesce(last.position + 1, 0) AS count,
    i.fingerprint, i.answer, {ASKED_BLOB_COLUMNS}, occupant.*, EXISTS (
        SELECT FROM holds WHERE sha256 IN ($6, $8)
    ) AS on_hold
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
        AND b.health = 'ok'
) AS asked ON true
LEFT JOIN (
    {RESOLVED_REFS}
    WHERE r.workspace_id = $1 AND r.entity_type = $2 AND r.entity_id = $3 AND r.role = $4 AND r.position = $7
) AS occupant ON true
"""
_LIVE = f"""{RESOLVED_REFS}
WHERE r.workspace_id = $1 AND r.entity_type = $2 AND r.entity_id = $3 AND r.position IS NOT NULL
    AND ($4::text IS NULL OR r.role = $4)
ORDER BY r.role, r.position"""
_NAMED = f"""{RESOLVED_REFS}
WHERE r.id = $5 OR (r.workspace_id = $1 AND r.entity_type = $2 AND r.entity_id = $3 AND r.role = $4
    AND r.position = (SELECT former_position FROM refs WHERE id = $5))"""
_LOCATE = """
SELECT asked.id, r.entity_type, r.entity_id, r.role, b.sha256, t.ref_id IS NOT NULL AS is_purged
FROM unnest($2::uuid[]) AS asked (id)
LEFT JOIN refs r ON r.id = asked.id AND r.workspace_id = $1
LEFT JOIN blobs b ON b.id = r.blob_id
LEFT JOIN tombstones t ON t.ref_id = asked.id AND t.workspace_id = $1 AND t.purged_at > refkeep_now() - $3::interval
"""
_TOMBSTONE = """SELECT 1 FROM tombstones t JOIN workspaces w ON w.id = t.workspace_id
WHERE t.ref_id = $1 AND w.slug = $2 AND t.purged_at > refkeep_now() - $3::interval"""


@dataclass(frozen=True, slots=True)
class Target:
    """What a question is about: of a ref named by its id, where it stands and which blob it shows never change."""

    question: RoleQuestion
    ref_id: UUID | None = None
    shown: Sha256 | None = None

    @property
    def entity(self) -> EntityKey:
        """The entity whose refs change."""
        return self.question.entity

    @property
    def hashes(self) -> list[Sha256]:
        """The blobs whose uses change."""
        return [sha256 for sha256 in (self.question.sha256, self.shown) if sha256 is not None]


@dataclass(frozen=True, slots=True)
class Loaded:
    """`row` has the time, the transaction's place in the log and the claim's answer.

    `blobs` has every blob that a decision may tell of.
    """

    row: Row
    state: RoleState
    blobs: Mapping[Sha256, Blob]

    def resolve(self, ref: Ref | None) -> ResolvedRef | None:
        """A decided ref with its blob."""
        return None if ref is None else self.resolved(ref)

    def resolved(self, ref: Ref) -> ResolvedRef:
        """The same of a ref that there is."""
        return ResolvedRef(ref, self.blobs[ref.sha256])


async def locate(
    connection: Connection, workspace: str, workspace_id: int, questions: Sequence[Question]
) -> list[Target | RefkeepError]:
    """The target of each question, or why there is none."""
    asked = {question.ref_id for question in questions if isinstance(question, RefQuestion)}
    rows = await connection.fetch(_LOCATE, workspace_id, [*asked], TOMBSTONE) if asked else []
    named = {row["id"]: _to_target(workspace, row) for row in rows}
    return [
        Target(question) if isinstance(question, RoleQuestion) else named[question.ref_id] for question in questions
    ]


async def load(connection: Connection, workspace_id: int, target: Target, key: str | None) -> Row:
    """The first statement of a change, which assigns the transaction its id; `key` is that of the claim."""
    question = target.question
    asked, sent = (None if each is None else bytes.fromhex(each) for each in (question.sha256, question.sent))
    row = await connection.fetchrow(_LOAD, *_place(workspace_id, question), key, asked, question.position, sent)
    if row is None:
        raise RuntimeError("a load without a row")
    return row


async def look(connection: Connection, workspace_id: int, target: Target, row: Row) -> Loaded:
    """The load with whatever else its judge gets to see. Raises `Gone` for a ref that was purged since it was found."""
    occupant, named, live = _occupant(row), None, list[ResolvedRef]()
    if target.ref_id is not None:
        named, occupant = await _named(connection, workspace_id, target)
    if target.question.whole:
        live = [
            to_resolved_ref(found) for found in await connection.fetch(_LIVE, *_place(workspace_id, target.question))
        ]
    asked = None if row["asked_sha256"] is None else to_blob(row, "asked_")
    seen = [resolved for resolved in (occupant, named, *live) if resolved is not None]
    blobs = {blob.sha256: blob for blob in (*(resolved.blob for resolved in seen), asked) if blob is not None}
    state = RoleState(
        row["now"],
        row["version"],
        row["count"],
        None if occupant is None else occupant.ref,
        asked,
        None if named is None else named.ref,
        tuple(resolved.ref for resolved in live),
        on_hold=row["on_hold"],
    )
    return Loaded(row, state, blobs)


def outcome_of(target: Target, loaded: Loaded, decision: Decision, first_seq: int = 0) -> RefOutcome:
    """What the caller learns; the events of the decision take the places from `first_seq` on."""
    events, state = decision.events, loaded.state
    last = None if not events else event_place(loaded.row, first_seq + len(events) - 1)
    return RefOutcome(
        decision.kind,
        target.entity,
        events[-1].version if events else state.version,
        loaded.resolve(decision.ref),
        loaded.resolve(decision.replaced),
        None if last is None else str(last),
        None if decision.refs is None else tuple(loaded.resolved(ref) for ref in decision.refs),
    )


async def is_purged(connection: Connection, ref_id: UUID, workspace: str) -> bool:
    """Whether there is a tombstone of the workspace's."""
    found = await connection.fetchval(_TOMBSTONE, ref_id, workspace, TOMBSTONE)
    return found is not None


def _occupant(row: Row) -> ResolvedRef | None:
    return None if row["id"] is None else to_resolved_ref(row)


async def _named(connection: Connection, workspace_id: int, target: Target) -> tuple[ResolvedRef, ResolvedRef | None]:
    """The named ref, and the live one in the place that it had."""
    rows = await connection.fetch(_NAMED, *_place(workspace_id, target.question), target.ref_id)
    found = {row["id"]: to_resolved_ref(row) for row in rows}
    if target.ref_id not in found:
        raise Gone
    named = found.pop(target.ref_id)
    return named, next(iter(found.values()), None)


def _place(workspace_id: int, question: RoleQuestion) -> tuple[int, str, str, str | None]:
    return workspace_id, question.entity.type, question.entity.id, question.role


def _to_target(workspace: str, row: Row) -> Target | RefkeepError:
    if row["entity_type"] is None:
        return Gone() if row["is_purged"] else NotFound("There is no such media here.")
    entity = EntityKey(workspace, row["entity_type"], row["entity_id"])
    return Target(RoleQuestion(entity, row["role"], None, None), row["id"], Sha256(row["sha256"].hex()))
