"""What becomes of a request: pure functions from what is there, what is asked and what the policy says to a decision.

A refusal by a rule is a decision too (`reject`, with its error) and is recorded; a failed precondition is an exception,
because the caller asked not to be judged in that case.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from service.domain.blob import Blob, Sha256
from service.domain.errors import (
    BlobNotHeld,
    OnHold,
    PolicyUnknown,
    PositionOutOfRange,
    PreconditionRequired,
    Rejected,
    RoleFull,
    VersionConflict,
)
from service.domain.event import Actor, DecisionKind, EventType, RefEvent
from service.domain.policy import (
    Cardinality,
    Policies,
    Policy,
    Visibility,
    normalisation_for,
    refusal_of,
    resolve_visibility,
)
from service.domain.ref import Labels, Original, Ref, RefState
from service.domain.slot import EntityKey


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the caller says it saw: any of `versions` (None: anything), or an empty slot."""

    versions: frozenset[int] | None = None
    empty_slot: bool = False


ANYTHING = Expectation()


@dataclass(frozen=True, slots=True)
class Attach:
    """Fill a slot of a role with a blob.

    PUT names a `position` and may find it taken (`shift` False); POST appends (`position` None) or inserts and moves
    the later ones up by one (`shift` True). `ref_id` names the ref if one is made.

    `sent` is what the caller sent, as soon as that was made to comply with the role's policy: `sha256` itself where it
    did, else other bytes, of which `sha256` was made. None while nobody has looked.
    """

    entity: EntityKey
    role: str
    position: int | None
    shift: bool
    sha256: Sha256
    labels: Labels
    visibility: Visibility | None
    ref_id: UUID
    actor: Actor
    expectation: Expectation = ANYTHING
    sent: Sha256 | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """Send the ref at `position` to the trash; later ones move up."""

    entity: EntityKey
    role: str
    position: int
    actor: Actor
    expectation: Expectation = ANYTHING


@dataclass(frozen=True, slots=True)
class RoleState:
    """What a decision about one role, or one of its slots, needs to know.

    The entity's version, how many live refs the role has, the live ref at the position asked for, and the blob asked
    for, None unless the workspace holds it. `named` is the ref asked for by its id, live or trashed; the position asked
    for is then the one it had. `refs` are all live ones where a whole role or entity is asked for, by role and
    position. `began_at` is the entity's version before the batch that this decision is a part of. `on_hold`: an
    operator keeps the bytes asked for, or those they were made of.
    """

    now: datetime
    version: int
    count: int
    occupant: Ref | None
    blob: Blob | None
    named: Ref | None = None
    refs: tuple[Ref, ...] = ()
    began_at: int | None = None
    on_hold: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """An outcome: its events in order (none for a noop), the ref now, the one it pushed out, the error of a reject.

    A decision about a whole role or entity has `refs` instead of one ref: all that it concerns, by role and position.
    """

    kind: DecisionKind
    events: tuple[RefEvent, ...] = ()
    ref: Ref | None = None
    replaced: Ref | None = None
    error: Rejected | None = None
    refs: tuple[Ref, ...] | None = None

    @property
    def event(self) -> RefEvent | None:
        """The last event, after which all that was decided has happened."""
        return self.events[-1] if self.events else None


def decide_attach(state: RoleState, command: Attach, policies: Policies, retention: timedelta) -> Decision:
    """Judge an attach. Raises `VersionConflict` and `PreconditionRequired`.

    `retention` is how long the trash keeps refs.
    """
    _check_expectation(state, command)
    judged = _judged(state, command, policies)
    if isinstance(judged, Rejected):
        return _rejection(state, command, judged)
    policy, visibility = judged
    if command.sent is None and state.blob is not None and normalisation_for(policy, state.blob.media) is not None:
        return _rejection(state, command, BlobNotHeld(command.sha256))
    _demand_version(state, command, policy)
    original = _original(command, policy)
    if state.occupant is None or command.shift:
        return _insertion(state, command, visibility, original)
    if state.occupant.sha256 == command.sha256:
        return _same_blob(state, state.occupant, command, original)
    return _replacement(state, state.occupant, command, visibility, original, retention)


def decide_admission(state: RoleState, command: Attach, policies: Policies) -> Decision:
    """Judge an attach by what was sent, before it is made to comply: a refusal, or a noop where it may go on.

    Raises `VersionConflict`. Whether a version must be named is seen when it is known what the ref will show.
    """
    _check_expectation(state, command)
    judged = _judged(state, command, policies)
    return _rejection(state, command, judged) if isinstance(judged, Rejected) else Decision(DecisionKind.NOOP)


def reject(
    state: RoleState, entity: EntityKey, role: str, actor: Actor, error: Rejected, sha256: Sha256 | None = None
) -> Decision:
    """A refusal for the record: the entity keeps its version. `sha256` is None where the bytes never had a name."""
    event = RefEvent(
        EventType.REF_REJECTED,
        DecisionKind.REJECT,
        state.now,
        actor,
        entity,
        state.version,
        role,
        sha256,
        code=error.code,
    )
    return Decision(DecisionKind.REJECT, (event,), error=error)


def rejected_again(state: RoleState, decision: Decision) -> Decision:
    """The same refusal for the record of a later moment: of a batch that was rolled back, only this is left."""
    events = tuple(replace(event, time=state.now, version=state.version) for event in decision.events)
    return replace(decision, events=events)


def decide_release(state: RoleState, command: Release, policies: Policies, retention: timedelta) -> Decision:
    """Judge a release by position. An empty slot is a noop, whatever the caller expected of the version.

    Refs outlive a policy that is taken out of the file: a role without one is released like a list.
    """
    if state.occupant is None:
        return Decision(DecisionKind.NOOP)
    check_version(state, command.expectation)
    policy = policies.find(command.entity.type, command.role)
    single = policy is not None and policy.cardinality is Cardinality.SINGLE
    if not single and command.expectation.versions is None:
        raise PreconditionRequired(state.version)
    return release_of(state, state.occupant, command.actor, retention)


def release_of(state: RoleState, ref: Ref, actor: Actor, retention: timedelta) -> Decision:
    """A live ref goes to the trash for `retention`; later ones of its role move up."""
    released = trashed(ref, state.now, retention)
    event = event_about(state, EventType.REF_RELEASED, DecisionKind.RELEASE, released, actor)
    return Decision(DecisionKind.RELEASE, (event,), released)


def trashed(ref: Ref, now: datetime, retention: timedelta) -> Ref:
    """The ref once it is in the trash, where it stays for `retention`."""
    return replace(
        ref,
        state=RefState.TRASHED,
        position=None,
        former_position=ref.position,
        trashed_at=now,
        purge_after=now + retention,
    )


def event_about(state: RoleState, type_: EventType, kind: DecisionKind, ref: Ref, actor: Actor) -> RefEvent:
    """The next event of the ref's entity."""
    return RefEvent(type_, kind, state.now, actor, ref.entity, state.version + 1, ref.role, ref.sha256, ref)


def _check_expectation(state: RoleState, command: Attach) -> None:
    check_version(state, command.expectation)
    if command.expectation.empty_slot and state.occupant is not None:
        raise VersionConflict("The slot is taken, and the request asks for an empty one.", state.version)


def _judged(state: RoleState, command: Attach, policies: Policies) -> tuple[Policy, Visibility] | Rejected:
    try:
        policy = policies.of(command.entity.type, command.role)
    except PolicyUnknown as unknown:
        return unknown
    if (refusal := _attach_refusal(state, command, policy)) is not None:
        return refusal
    visibility = resolve_visibility(policy, command.visibility)
    return visibility if isinstance(visibility, Rejected) else (policy, visibility)


def _original(command: Attach, policy: Policy) -> Original | None:
    made_here = command.sent is not None and command.sent != command.sha256
    return Original(command.sent, policy.keep_original) if made_here and command.sent is not None else None


def _attach_refusal(state: RoleState, command: Attach, policy: Policy) -> Rejected | None:
    if state.blob is None:
        return BlobNotHeld(command.sha256)
    if state.on_hold and normalisation_for(policy, state.blob.media) is not None:
        return OnHold()  # nothing is made of it, under a name that nobody holds back
    as_sent = command.sent in {None, command.sha256}  # what was made here is judged by what was sent
    if as_sent and (refusal := refusal_of(policy, state.blob.size, state.blob.media)) is not None:
        return refusal
    last = min(state.count, policy.capacity - 1)
    if command.position is not None and command.position > state.count:
        return PositionOutOfRange(command.position, last)
    if command.position is not None and policy.cardinality is Cardinality.SINGLE and command.position > 0:
        return PositionOutOfRange(command.position, 0)
    grows = command.shift or state.occupant is None
    return RoleFull(command.role, policy.capacity) if grows and state.count >= policy.capacity else None


def _demand_version(state: RoleState, command: Attach, policy: Policy) -> None:
    if policy.cardinality is Cardinality.SINGLE or command.expectation.versions is not None:
        return
    inserts = command.shift and command.position is not None
    occupant = None if command.shift else state.occupant
    replaces = occupant is not None and occupant.sha256 != command.sha256
    if inserts or replaces:
        raise PreconditionRequired(state.version)


def check_version(state: RoleState, expectation: Expectation) -> None:
    """Raise `VersionConflict` unless the entity is at a version that the caller expects.

    In a batch that is also the version before it: what the batch itself did is no surprise to its caller.
    """
    if expectation.versions is not None and not expectation.versions & {state.version, state.began_at}:
        raise VersionConflict(f"The entity is at version {state.version}, not the one expected.", state.version)


def _insertion(state: RoleState, command: Attach, visibility: Visibility, original: Original | None) -> Decision:
    position = state.count if command.position is None else command.position
    ref = _new_ref(state, command, position, visibility, original)
    event = event_about(state, EventType.REF_INSERTED, DecisionKind.INSERT, ref, command.actor)
    return Decision(DecisionKind.INSERT, (event,), ref)


def _replacement(
    state: RoleState,
    occupant: Ref,
    command: Attach,
    visibility: Visibility,
    original: Original | None,
    retention: timedelta,
) -> Decision:
    ref = _new_ref(state, command, occupant.position, visibility, original)
    replaced = trashed(occupant, state.now, retention)
    event = event_about(state, EventType.REF_REPLACED, DecisionKind.REPLACE, ref, command.actor)
    return Decision(DecisionKind.REPLACE, (replace(event, replaced=replaced),), ref, replaced)


def _same_blob(state: RoleState, occupant: Ref, command: Attach, original: Original | None) -> Decision:
    """What the caller leaves out stays as it is; what it says anew is an update of the same ref.

    So is another original that is to be kept, from which the same picture was made.
    """
    given, had = command.labels, occupant.labels
    labels = Labels(
        had.filename if given.filename is None else given.filename,
        had.alt if given.alt is None else given.alt,
        had.owner if given.owner is None else given.owner,
    )
    kept = original if original is not None and original.kept else occupant.original
    ref = replace(occupant, labels=labels, visibility=command.visibility or occupant.visibility, original=kept)
    if ref == occupant:
        return Decision(DecisionKind.NOOP, ref=occupant)
    event = event_about(state, EventType.REF_UPDATED, DecisionKind.UPDATE, ref, command.actor)
    return Decision(DecisionKind.UPDATE, (event,), ref)


def _rejection(state: RoleState, command: Attach, error: Rejected) -> Decision:
    return reject(state, command.entity, command.role, command.actor, error, command.sha256)


def _new_ref(
    state: RoleState, command: Attach, position: int | None, visibility: Visibility, original: Original | None
) -> Ref:
    return Ref(
        command.ref_id,
        command.entity,
        command.role,
        position,
        RefState.LIVE,
        visibility,
        command.sha256,
        command.labels,
        state.now,
        original=original,
    )
