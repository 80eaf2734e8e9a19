"""What was there before: rows of a manifest, the ids that their refs get, and what becomes of each.

An import fills what nobody has written. Whatever somebody wrote through the API, before or meanwhile, stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from itertools import count, groupby
from uuid import UUID

from service.domain.blob import Sha256
from service.domain.decision import Attach, Expectation
from service.domain.errors import PolicyUnknown, Rejected, RoleFull
from service.domain.event import Actor, EventType
from service.domain.policy import Policies, Visibility, resolve_visibility
from service.domain.ref import Labels
from service.domain.slot import EntityKey

ACTOR_PREFIX = "import:"
MAX_ROWS, MAX_TEXT = 5000, 32 * 2**20
"""Rows of one entity, and bytes of their sources, data: URLs above all: they are one transaction, and in memory."""
_EARLY_LIVES = 4


class PlaceKind(StrEnum):
    """How a row says where it belongs: the position itself, or a number that sorts the rows of its role."""

    POSITION = "position"
    ORDER = "order"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a row belongs within its role."""

    kind: PlaceKind
    number: int


class SourceKind(StrEnum):
    """Where the bytes are: a local file, an http(s) address, a data: URL."""

    FILE = "file"
    WEB = "web"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class Location:
    """What a manifest says of where the bytes are."""

    kind: SourceKind
    text: str


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One ref that is to be; `line` counts from 1, `source_id` names the thing in the system that it comes from."""

    line: int
    source_id: str
    entity: EntityKey
    role: str
    place: Place
    location: Location
    labels: Labels = Labels()  # noqa: RUF009 - frozen
    visibility: Visibility | None = None

    def ref_id(self, life: int = 0) -> UUID:
        """The id of this row's ref: it follows from workspace, source id and slot, and from nothing else.

        A UUIDv7 in form (RFC 9562 §5.7), of SHA-256: its time is within the first weeks of 1970, so that imported refs
        stand before all others, as the older ones that they are. After a roll-back the row may live again, under the
        next id: an id is never given twice. See docs/decisions/023.
        """
        slot = (self.entity.type, self.entity.id, self.role, f"{self.place.kind} {self.place.number}")
        words = (self.entity.workspace, self.source_id, *slot, str(life))
        digest = sha256(b"".join(b"%d:%s," % (len(raw), raw) for raw in (word.encode() for word in words))).digest()
        number = int.from_bytes(digest[:16]) & ~(0xFFFF << 112) & ~(0xF << 76) & ~(0x3 << 62)
        return UUID(int=number | 7 << 76 | 0b10 << 62)

    def early_ids(self) -> list[UUID]:
        """The ids of its first lives: a purged ref leaves no more than its id."""
        return [self.ref_id(life) for life in range(_EARLY_LIVES)]


@dataclass(frozen=True, slots=True)
class LiveRef:
    """A ref that stands in a slot."""

    ref_id: UUID
    role: str
    position: int


@dataclass(frozen=True, slots=True)
class Touch:
    """What an event of an entity, no rejection, did to a role, by whom, and to which ref; None for a new order.

    Two of one event where a ref was replaced: to the new one, and to the old.
    """

    role: str
    type: EventType
    actor: str
    ref_id: UUID | None


@dataclass(frozen=True, slots=True)
class EntityStory:
    """What an import must know of an entity.

    `live` is by role and position; `ended` has ids of refs that are in the trash or were purged; `touches` is the
    entity's log in its order, as far back as it is kept.
    """

    version: int = 0
    live: tuple[LiveRef, ...] = ()
    ended: frozenset[UUID] = frozenset()
    touches: tuple[Touch, ...] = ()


class Verdict(StrEnum):
    """What becomes of a row."""

    IMPORTED = "imported"
    NOOP = "noop"
    SKIPPED = "skipped"
    FAILED = "failed"
    HELD_BACK = "held-back"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a row was not imported: a word for scripts, a sentence for people."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class RowPlan:
    """What is to become of a row; `position` is where its ref goes, or stands."""

    row: ManifestRow
    verdict: Verdict
    ref_id: UUID | None = None
    position: int | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class EntityPlan:
    """What is to become of an entity's rows: those to import come in the order in which they are to be attached."""

    version: int
    rows: tuple[RowPlan, ...]

    @property
    def to_import(self) -> list[RowPlan]:
        """The rows whose bytes are needed."""
        return [plan for plan in self.rows if plan.verdict is Verdict.IMPORTED]

    @property
    def is_refused(self) -> bool:
        """Whether a row cannot be imported: then nothing of the entity is."""
        return any(plan.verdict is Verdict.FAILED for plan in self.rows)


def actor_of(run_id: str) -> Actor:
    """Who writes the events of a run."""
    return Actor(f"{ACTOR_PREFIX}{run_id}")


def is_import(actor: str) -> bool:
    """Whether an event was written by an import, or by its roll-back."""
    return actor.startswith(ACTOR_PREFIX)


def plan_entity(rows: Sequence[ManifestRow], story: EntityStory, policies: Policies) -> EntityPlan:
    """What becomes of the rows of one entity. Pure: judged again whenever the entity has moved on meanwhile."""
    ordered = sorted(rows, key=lambda row: (row.role, row.place, row.line))
    plans = [
        plan
        for _, of_role in groupby(ordered, key=lambda row: row.role)
        for plan in _plan_role([*of_role], story, policies)
    ]
    return EntityPlan(story.version, tuple(plans))


def attach_of(plan: RowPlan, version: int, sha256: Sha256, actor: Actor) -> Attach:
    """The command that carries a plan out, unless the entity has left the version that was judged."""
    row, ref_id, position = plan.row, plan.ref_id, plan.position
    if ref_id is None or position is None:
        raise ValueError(f"line {row.line} is not to be imported")
    expected = Expectation(frozenset({version}))
    return Attach(row.entity, row.role, position, True, sha256, row.labels, row.visibility, ref_id, actor, expected)


def held_back(plan: EntityPlan) -> EntityPlan:
    """The same where a row failed: what was to be imported waits until that row is right."""
    return EntityPlan(plan.version, tuple(_held_back(each, _first_failed(plan.rows)) for each in plan.rows))


def _held_back(plan: RowPlan, failed: RowPlan) -> RowPlan:
    if plan.verdict is not Verdict.IMPORTED:
        return plan
    detail = f"Line {failed.row.line} of the same entity failed: an entity is imported whole or not at all."
    return RowPlan(plan.row, Verdict.HELD_BACK, reason=Reason("held-back", detail))


def _first_failed(plans: Iterable[RowPlan]) -> RowPlan:
    return min((plan for plan in plans if plan.verdict is Verdict.FAILED), key=lambda plan: plan.row.line)


def _plan_role(rows: list[ManifestRow], story: EntityStory, policies: Policies) -> Iterator[RowPlan]:
    """The rows of one role, in their order."""
    if (refusal := _refusal(rows, policies)) is not None:
        reason = Reason(refusal.code, str(refusal))
        yield from (RowPlan(row, Verdict.FAILED, reason=reason) for row in rows)
        return
    role = _Role(rows[0].role, story)
    ids = [role.id_of(row) for row in rows]
    skip = role.why_not(rows, ids)
    for position, (row, ref_id) in enumerate(zip(rows, ids, strict=True)):
        if ref_id in role.standing:
            yield RowPlan(row, Verdict.NOOP, ref_id, role.standing[ref_id])
        elif skip is not None:
            yield RowPlan(row, Verdict.SKIPPED, reason=skip)
        else:
            yield RowPlan(row, Verdict.IMPORTED, ref_id, position)


def _refusal(rows: list[ManifestRow], policies: Policies) -> Rejected | None:
    """Why the role takes none of this, whatever the bytes are."""
    row = rows[0]
    try:
        policy = policies.of(row.entity.type, row.role)
    except PolicyUnknown as error:
        return error
    if len(rows) > policy.capacity:
        return RoleFull(row.role, policy.capacity)
    outcomes = [resolve_visibility(policy, each.visibility) for each in rows]
    return next((outcome for outcome in outcomes if isinstance(outcome, Rejected)), None)


class _Role:
    """What a story tells of one role; `standing` has the positions of its live refs, in their order."""

    def __init__(self, name: str, story: EntityStory) -> None:
        self.standing = {ref.ref_id: ref.position for ref in story.live if ref.role == name}
        self._touches = [touch for touch in story.touches if touch.role == name]
        self._known = {touch.ref_id for touch in self._touches}
        self._ended = story.ended

    def id_of(self, row: ManifestRow) -> UUID:
        """The id under which the row is live, or the first that nobody has had."""
        ids = map(row.ref_id, count())
        return next(id_ for id_ in ids if id_ in self.standing or not (id_ in self._known or id_ in self._ended))

    def why_not(self, rows: list[ManifestRow], ids: list[UUID]) -> Reason | None:
        """Why nothing more may be put in; None where the role is as imports left it."""
        written = [touch for touch in self._touches if _is_of_people(touch)]
        if written:
            return Reason(
                "written-live", f"Somebody wrote this role: {_word(written[-1].type)} by {written[-1].actor}."
            )
        wanted = [ref_id for ref_id in ids if ref_id in self.standing]
        if len(wanted) < len(self.standing):
            others = len(self.standing) - len(wanted)
            return Reason("other-refs", f"The role has {others} refs that are not of this manifest.")
        if wanted != [*self.standing]:
            return Reason("other-order", "The refs of the role stand in another order than the manifest has.")
        if any(id_ in self._ended and id_ not in self._known for row in rows for id_ in row.early_ids()):
            return Reason("ended", "This was imported before and ended; the log does not reach back to who did it.")
        return None


def _is_of_people(touch: Touch) -> bool:
    """A purge ends what was in the trash already: whoever put it there is the one who counts."""
    return touch.type is not EventType.REF_PURGED and not is_import(touch.actor)


def _word(type_: EventType) -> str:
    return type_.removeprefix("refkeep.ref.").removesuffix(".v1")


@dataclass(frozen=True, slots=True)
class Leave:
    """A ref of a run that its roll-back does not release, and why."""

    ref_id: UUID
    reason: Reason


@dataclass(frozen=True, slots=True)
class RollBackPlan:
    """What a roll-back releases of one entity, from the last position to the first, and what it leaves."""

    version: int
    release: tuple[UUID, ...]
    left: tuple[Leave, ...]


def plan_roll_back(story: EntityStory, actor: Actor) -> RollBackPlan:
    """What a run made of this entity and nobody has touched since: that goes, the rest stays and is told.

    A ref is touched by an event about itself, and by a new order of its role, in which it has its place. What an
    earlier roll-back of the run has released is no longer spoken of.
    """
    standing = {ref.ref_id for ref in story.live}
    since = _since_birth(story.touches, actor)
    left = [
        Leave(ref_id, Reason("touched" if ref_id in standing else "gone", f"{_word(touch.type)} by {touch.actor}"))
        for ref_id, touch in since.items()
        if touch is not None and (ref_id in standing or touch.actor != actor.id)
    ]
    going = [ref.ref_id for ref in reversed(story.live) if ref.ref_id in since and since[ref.ref_id] is None]
    return RollBackPlan(story.version, tuple(going), tuple(sorted(left, key=lambda leave: leave.ref_id)))


def _since_birth(touches: Iterable[Touch], actor: Actor) -> dict[UUID, Touch | None]:
    """The refs that a run made, each with the last that was done to it since."""
    since: dict[UUID, Touch | None] = {}
    roles: dict[str, list[UUID]] = {}
    for touch in touches:
        if touch.ref_id is None:
            since.update(dict.fromkeys(roles.get(touch.role, []), touch))
        elif touch.ref_id in since:
            since[touch.ref_id] = touch
        elif touch.actor == actor.id and touch.type is EventType.REF_INSERTED:
            since[touch.ref_id] = None
            roles.setdefault(touch.role, []).append(touch.ref_id)
    return since
