"""Holds of bytes, by an operator: see `service.domain.hold`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from service.domain.blob import Sha256
from service.domain.event import DecisionKind, HoldEvent
from service.domain.hold import Hold
from service.domain.hold_decision import HoldState
from service.ports.idempotency import Claim, Replay

HoldJudge = Callable[[HoldState], HoldEvent | None]
"""Pure: called once or more inside a transaction that has the lock of the hash; None changes nothing."""


@dataclass(frozen=True, slots=True)
class HoldOutcome:
    """What became of a request: the hold as it is now, or as it was when it was lifted."""

    decision: DecisionKind
    hold: Hold


class HoldLedger(Protocol):
    """While a hold stands, its bytes are neither served nor taken, and neither their blob nor an object of them goes.

    An object that a collector had claimed when the hold came may still go: it was condemned, and its time was up.
    """

    async def find(self, sha256: Sha256) -> Hold | None:
        """The hold, None where there is none."""

    async def change(
        self, sha256: Sha256, judge: HoldJudge, claim: Claim[HoldOutcome] | None = None
    ) -> HoldOutcome | Replay:
        """Judge and carry out, with one event for the operator's record and one for each workspace with a holding.

        Keys of idempotency are the operators' own here, whatever workspace they name. Raises what the judge raises,
        `IdempotencyKeyReuse`, `IdempotencyInProgress`, `Unavailable`.
        """
