"""What becomes of a ref that is named by its id: released, changed in its words, restored, purged.

Nothing is demanded of a caller who names the ref itself, for a retry meets the same one; what it says in `If-Match` is
heeded. The state must have `named`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, auto
from typing import Literal
from uuid import UUID

from service.domain.decision import (
    ANYTHING,
    Decision,
    Expectation,
    RoleState,
    check_version,
    event_about,
    reject,
    release_of,
    trashed,
)
from service.domain.errors import InTrash, NotFound, NotTrashed, PolicyUnknown, Rejected, RoleFull, SlotTaken
from service.domain.event import Actor, DecisionKind, EventType
from service.domain.policy import Cardinality, Policies, Policy, Visibility, resolve_visibility
from service.domain.ref import Labels, Ref, RefState


class Keep(Enum):
    """In place of a value: leave it as it is."""

    KEEP = auto()


KEEP: Literal[Keep.KEEP] = Keep.KEEP


@dataclass(frozen=True, slots=True)
class Revision:
    """What to change of a ref: None clears a label, and gives the visibility back to the policy's default."""

    filename: str | Keep | None = KEEP
    alt: str | Keep | None = KEEP
    owner: str | Keep | None = KEEP
    visibility: Visibility | Keep | None = KEEP


@dataclass(frozen=True, slots=True)
class ReleaseRef:
    """Send this ref to the trash, wherever it stands."""

    workspace: str
    ref_id: UUID
    actor: Actor
    expectation: Expectation = ANYTHING


@dataclass(frozen=True, slots=True)
class Revise:
    """Change what a live ref says."""

    workspace: str
    ref_id: UUID
    revision: Revision
    actor: Actor
    expectation: Expectation = ANYTHING


@dataclass(frozen=True, slots=True)
class Restore:
    """Bring a ref back from the trash; where its single slot is taken, only if `replaces`."""

    workspace: str
    ref_id: UUID
    actor: Actor
    replaces: bool = False
    expectation: Expectation = ANYTHING


@dataclass(frozen=True, slots=True)
class Purge:
    """End a trashed ref for good."""

    workspace: str
    ref_id: UUID
    actor: Actor
    expectation: Expectation = ANYTHING


def decide_release_ref(state: RoleState, command: ReleaseRef, retention: timedelta) -> Decision:
    """Judge a release by id. In the trash already: a noop, whatever the caller expected of the version."""
    ref = _named(state)
    if ref.state is RefState.TRASHED:
        return Decision(DecisionKind.NOOP, ref=ref)
    check_version(state, command.expectation)
    return release_of(state, ref, command.actor, retention)


def decide_revise(state: RoleState, command: Revise, policies: Policies) -> Decision:
    """Judge other words for a ref, or another visibility. Raises `VersionConflict`."""
    ref = _named(state)
    check_version(state, command.expectation)
    if ref.state is RefState.TRASHED:
        return _rejection(state, ref, command.actor, InTrash())
    visibility = _revised_visibility(ref, command.revision, policies)
    if isinstance(visibility, Rejected):
        return _rejection(state, ref, command.actor, visibility)
    revised = replace(ref, labels=_revised_labels(ref.labels, command.revision), visibility=visibility)
    if revised == ref:
        return Decision(DecisionKind.NOOP, ref=ref)
    event = event_about(state, EventType.REF_UPDATED, DecisionKind.UPDATE, revised, command.actor)
    return Decision(DecisionKind.UPDATE, (event,), revised)


def decide_restore(state: RoleState, command: Restore, policies: Policies, retention: timedelta) -> Decision:
    """Judge a restore: back to the old position, or to the end of a list that is shorter now.

    A live ref is a noop. The media are not judged again: they were taken once, and the list's other refs stay as well
    when a policy changes. Raises `VersionConflict`.
    """
    ref = _named(state)
    if ref.state is RefState.LIVE:
        return Decision(DecisionKind.NOOP, ref=ref)
    check_version(state, command.expectation)
    try:
        policy = policies.of(ref.entity.type, ref.role)
    except PolicyUnknown as unknown:
        return _rejection(state, ref, command.actor, unknown)
    refusal = _restore_refusal(state, ref, command, policy)
    if refusal is not None:
        return _rejection(state, ref, command.actor, refusal)
    pushed_out = state.occupant if policy.cardinality is Cardinality.SINGLE else None
    return _restoration(state, ref, pushed_out, command.actor, retention)


def decide_purge(state: RoleState, command: Purge) -> Decision:
    """Judge the end of a ref: only the trash is purged. Raises `VersionConflict`."""
    ref = _named(state)
    check_version(state, command.expectation)
    if ref.state is RefState.LIVE:
        return _rejection(state, ref, command.actor, NotTrashed())
    return _purge(state, ref, command.actor)


def decide_expiry(state: RoleState, actor: Actor) -> Decision:
    """Judge the end of a ref that nobody asked for: a noop unless its time in the trash is over."""
    ref = _named(state)
    if ref.purge_after is None or ref.purge_after > state.now:
        return Decision(DecisionKind.NOOP, ref=ref)
    return _purge(state, ref, actor)


def _named(state: RoleState) -> Ref:
    if state.named is None:
        raise NotFound("There is no such media here.")
    return state.named


def _purge(state: RoleState, ref: Ref, actor: Actor) -> Decision:
    event = event_about(state, EventType.REF_PURGED, DecisionKind.PURGE, ref, actor)
    return Decision(DecisionKind.PURGE, (event,), ref)


def _revised_labels(labels: Labels, revision: Revision) -> Labels:
    return Labels(
        labels.filename if revision.filename is KEEP else revision.filename,
        labels.alt if revision.alt is KEEP else revision.alt,
        labels.owner if revision.owner is KEEP else revision.owner,
    )


def _revised_visibility(ref: Ref, revision: Revision, policies: Policies) -> Visibility | Rejected:
    """What a ref has is never taken from it, whatever became of its policy."""
    if revision.visibility is KEEP or revision.visibility is ref.visibility:
        return ref.visibility
    try:
        policy = policies.of(ref.entity.type, ref.role)
    except PolicyUnknown as unknown:
        return unknown
    return resolve_visibility(policy, revision.visibility)


def _restore_refusal(state: RoleState, ref: Ref, command: Restore, policy: Policy) -> Rejected | None:
    visibility = resolve_visibility(policy, ref.visibility)
    if isinstance(visibility, Rejected):
        return visibility
    if policy.cardinality is Cardinality.SINGLE and state.occupant is not None and state.count == 1:
        return None if command.replaces else SlotTaken(ref.role, state.occupant.ref_id)
    return RoleFull(ref.role, policy.capacity) if state.count >= policy.capacity else None


def _restoration(state: RoleState, ref: Ref, pushed_out: Ref | None, actor: Actor, retention: timedelta) -> Decision:
    restored = replace(
        ref,
        state=RefState.LIVE,
        position=min(ref.former_position or 0, state.count),
        former_position=None,
        trashed_at=None,
        purge_after=None,
    )
    replaced = None if pushed_out is None else trashed(pushed_out, state.now, retention)
    event = event_about(state, EventType.REF_RESTORED, DecisionKind.RESTORE, restored, actor)
    return Decision(DecisionKind.RESTORE, (replace(event, replaced=replaced),), restored, replaced)


def _rejection(state: RoleState, ref: Ref, actor: Actor, error: Rejected) -> Decision:
    return reject(state, ref.entity, ref.role, actor, error, ref.sha256)
