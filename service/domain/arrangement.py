"""What becomes of a whole role, or of a whole entity: put in another order, released."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from service.domain.decision import ANYTHING, Decision, Expectation, RoleState, check_version, reject, release_of
from service.domain.errors import NotAPermutation, PreconditionRequired
from service.domain.event import Actor, DecisionKind, EventType, RefEvent
from service.domain.slot import EntityKey


@dataclass(frozen=True, slots=True)
class Reorder:
    """Put the live refs of a role in this order."""

    entity: EntityKey
    role: str
    ref_ids: tuple[UUID, ...]
    actor: Actor
    expectation: Expectation = ANYTHING


@dataclass(frozen=True, slots=True)
class ReleaseAll:
    """Send every ref of a role to the trash; of every role where `role` is None, because the entity is gone."""

    entity: EntityKey
    role: str | None
    actor: Actor
    expectation: Expectation = ANYTHING


def decide_reorder(state: RoleState, command: Reorder) -> Decision:
    """Judge a new order. Raises `VersionConflict` and, without a version, `PreconditionRequired`.

    The same order again is a noop.
    """
    check_version(state, command.expectation)
    if command.expectation.versions is None:
        raise PreconditionRequired(state.version)
    by_id = {ref.ref_id: ref for ref in state.refs}
    live, asked = Counter([*by_id]), Counter(command.ref_ids)
    missing, surplus = [*(live - asked)], [*(asked - live)]
    if missing or surplus:
        error = NotAPermutation(missing, surplus)
        return reject(state, command.entity, command.role, command.actor, error)
    ordered = tuple(replace(by_id[ref_id], position=position) for position, ref_id in enumerate(command.ref_ids))
    if ordered == state.refs:
        return Decision(DecisionKind.NOOP, refs=ordered)
    return Decision(DecisionKind.REORDER, (_reordered(state, command),), refs=ordered)


def decide_release_all(state: RoleState, command: ReleaseAll, retention: timedelta) -> Decision:
    """Judge a release of all: an event for each ref, from the last to the first, so that none moves meanwhile.

    Where nothing is left it is a noop, whatever the caller expected of the version. Raises `VersionConflict`.
    """
    if not state.refs:
        return Decision(DecisionKind.NOOP, refs=())
    check_version(state, command.expectation)
    released = [*_released(state, command, retention)]
    events = tuple(event for decision in released for event in decision.events)
    refs = tuple(decision.ref for decision in reversed(released) if decision.ref is not None)
    return Decision(DecisionKind.RELEASE, events, refs=refs)


def _released(state: RoleState, command: ReleaseAll, retention: timedelta) -> Iterator[Decision]:
    for number, ref in enumerate(reversed(state.refs)):
        yield release_of(replace(state, version=state.version + number), ref, command.actor, retention)


def _reordered(state: RoleState, command: Reorder) -> RefEvent:
    return RefEvent(
        EventType.REF_REORDERED,
        DecisionKind.REORDER,
        state.now,
        command.actor,
        command.entity,
        state.version + 1,
        command.role,
        ref_ids=command.ref_ids,
    )
