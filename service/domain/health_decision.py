"""What becomes of a look at bytes in the store: pure functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from service.domain.blob import Sha256
from service.domain.event import Actor, BlobEvent, DecisionKind, EventType
from service.domain.health import Health

REPAIR = Actor("repair")
"""Who acts where bytes are looked at, and where they come back."""

_TYPES = {
    Health.OK: EventType.BLOB_HEALED,
    Health.MISSING: EventType.BLOB_MISSING,
    Health.CORRUPT: EventType.BLOB_CORRUPT,
}


@dataclass(frozen=True, slots=True)
class HealthState:
    """The time, and what was known of a blob until now."""

    now: datetime
    sha256: Sha256
    known: Health


def decide_health(state: HealthState, found: Health, actor: Actor) -> BlobEvent | None:
    """An event for every change; None where it was known already."""
    if found is state.known:
        return None
    return BlobEvent(_TYPES[found], DecisionKind.UPDATE, state.now, actor, state.sha256, found)


def health_copy_for(event: BlobEvent, workspace: str) -> BlobEvent:
    """What a workspace that holds the bytes reads in its own log."""
    return replace(event, workspace=workspace)
