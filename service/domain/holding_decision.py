"""What becomes of bytes that arrive, are vouched for or are asked for again: pure functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from service.domain.blob import MediaInfo, Sha256
from service.domain.errors import OnHold
from service.domain.event import Actor, DecisionKind, EventType, HoldingEvent
from service.domain.ref import Holding


@dataclass(frozen=True, slots=True)
class HoldingState:
    """What a decision about a holding needs.

    The time, the workspace's holding now, the blob's `size` in bytes, None where there is no such blob, and whether an
    operator put the bytes on hold.
    """

    now: datetime
    holding: Holding | None
    size: int | None = None
    on_hold: bool = False


def decide_arrival(
    state: HoldingState, workspace: str, sha256: Sha256, size: int, lease: timedelta, actor: Actor
) -> HoldingEvent:
    """Judge bytes that arrived whole: `insert`, or `duplicate` if this workspace held them already.

    Both renew the lease. Raises `OnHold`.
    """
    if state.on_hold:
        raise OnHold
    lease_until = state.now + lease
    if state.holding is not None:
        renewed = replace(state.holding, lease_until=max(lease_until, state.holding.lease_until))
        return HoldingEvent(EventType.HOLDING_ACQUIRED, DecisionKind.DUPLICATE, state.now, actor, renewed)
    holding = Holding(workspace, sha256, size, state.now, lease_until)
    return HoldingEvent(EventType.HOLDING_ACQUIRED, DecisionKind.INSERT, state.now, actor, holding)


def decide_grant(
    state: HoldingState, workspace: str, sha256: Sha256, lease: timedelta, actor: Actor
) -> HoldingEvent | None:
    """Judge a holding without bytes, which an operator vouches for: as `decide_arrival`; None without a blob."""
    return None if state.size is None else decide_arrival(state, workspace, sha256, state.size, lease, actor)


def standing_look(known: MediaInfo | None, found: MediaInfo) -> MediaInfo:
    """Which of two looks at the same bytes stands: the latest, unless it failed to read what was read before.

    So what a workspace is told of its bytes does not depend on who sent them first, and a look that failed for want of
    time or memory is mended by the next upload. A placeholder stays until another one is made.
    """
    if known is None:
        return found
    if found.readable is False and known.readable is not False:
        return known
    return replace(found, placeholder=found.placeholder or known.placeholder)


def decide_renewal(state: HoldingState, lease: timedelta, actor: Actor, *, always: bool = False) -> HoldingEvent | None:
    """Judge a holding that its workspace asks for again without sending the bytes.

    A question asked often must not fill the log: unless `always`, a lease that would grow by less than a hundredth
    stays, and so does that of bytes on hold, for which `always` raises `OnHold`.
    """
    holding = state.holding
    if holding is None:
        return None
    if not always and (state.on_hold or state.now + lease - holding.lease_until < lease / 100):
        return None
    return decide_arrival(state, holding.workspace, holding.sha256, holding.size, lease, actor)
