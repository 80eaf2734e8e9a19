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
    """A blob as it is now: `held` by any workspace; `shown` as a rendition of another blob; `on_hold` its bytes."""

    now: datetime
    held: bool
    shown: bool
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


@dataclass(frozen=True, slots=True)
class BlobVerdict:
    """What a blob loses: its renditions where it is `barren`, and itself where its bytes may go at `delete_after`."""

    barren: bool = False
    delete_after: datetime | None = None


def judge_blob(review: BlobReview, quarantine: timedelta) -> BlobVerdict:
    """A blob that no workspace holds goes, unless it is a rendition; its bytes stay in the store for the quarantine.

    Its own renditions go in any case: nobody may see them, and two blobs that were made of each other would stay.
    """
    if review.held or review.on_hold:
        return BlobVerdict()
    return BlobVerdict(barren=True, delete_after=None if review.shown else review.now + quarantine)
