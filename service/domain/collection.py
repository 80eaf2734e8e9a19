"""What becomes of a holding or a blob that is looked at because it may have lost its last reason: pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from service.domain.event import Actor, DecisionKind, EventType, HoldingEvent
from service.domain.ref import Holding

COLLECTOR = Actor("gc")
"""Who acts where nobody asked."""


@dataclass(frozen=True, slots=True)
class HoldingReview:
    """A holding as it is now, None once it has ended; `used` by a ref, live or trashed; `on_hold` its bytes."""

    now: datetime
    holding: Holding | None
    used: bool
    on_hold: bool


@dataclass(frozen=True, slots=True)
class BlobReview:
    """A blob as it is now: `held` by any workspace; `on_hold` its bytes."""

    now: datetime
    held: bool
    on_hold: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """The event that ends a holding, or the time of the next look; neither: whatever changes will queue it anew."""

    event: HoldingEvent | None = None
    again: datetime | None = None


def judge_holding(review: HoldingReview) -> Verdict:
    """A holding without refs ends with its lease."""
    holding = review.holding
    if holding is None or review.used or review.on_hold:
        return Verdict()
    if review.now < holding.lease_until:
        return Verdict(again=holding.lease_until)
    return Verdict(HoldingEvent(EventType.HOLDING_RELEASED, DecisionKind.RELEASE, review.now, COLLECTOR, holding))


def judge_blob(review: BlobReview, quarantine: timedelta) -> datetime | None:
    """A blob that no workspace holds goes; its bytes stay in the store for the quarantine."""
    return None if review.held or review.on_hold else review.now + quarantine
