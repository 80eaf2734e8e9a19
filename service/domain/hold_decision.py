"""What becomes of a request about a hold: pure functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from service.domain.blob import Sha256
from service.domain.errors import NotFound
from service.domain.event import Actor, DecisionKind, EventType, HoldEvent
from service.domain.hold import Hold, HoldKind


@dataclass(frozen=True, slots=True)
class PlaceHold:
    """Keep bytes from being served, taken and removed. `status` None is the usual one of the kind."""

    sha256: Sha256
    kind: HoldKind
    reason: str
    actor: Actor
    status: int | None = None


@dataclass(frozen=True, slots=True)
class HoldState:
    """The time, and the hold as it is now."""

    now: datetime
    hold: Hold | None


def decide_place(state: HoldState, command: PlaceHold) -> HoldEvent | None:
    """Insert or update; None where the hold says all of it already."""
    status, before = command.status or command.kind.usual_status, state.hold
    if before is None:
        new = Hold(command.sha256, command.kind, status, command.reason, command.actor.id, state.now)
        return HoldEvent(EventType.HOLD_PLACED, DecisionKind.INSERT, state.now, command.actor, new)
    changed = replace(before, kind=command.kind, status=status, reason=command.reason)
    if changed == before:
        return None
    after = replace(changed, actor=command.actor.id)
    return HoldEvent(EventType.HOLD_PLACED, DecisionKind.UPDATE, state.now, command.actor, after)


def decide_lift(state: HoldState, actor: Actor) -> HoldEvent:
    """The end of a hold. Raises `NotFound`."""
    if state.hold is None:
        raise NotFound("There is no hold on these bytes.")
    return HoldEvent(EventType.HOLD_LIFTED, DecisionKind.RELEASE, state.now, actor, state.hold)


def copy_for(event: HoldEvent, workspace: str) -> HoldEvent:
    """What a workspace that holds the bytes reads in its own log: everything but the operator's reason."""
    return replace(event, workspace=workspace, hold=replace(event.hold, reason=None))
