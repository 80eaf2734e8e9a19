"""The logical level: which bytes can be served, and which workspace has sent them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.domain.blob import Blob, MediaInfo, Sha256
from service.domain.event import Actor, DecisionKind, HoldingEvent
from service.domain.holding_decision import HoldingState
from service.ports.idempotency import Claim, Replay
from service.ports.objects import Reservation

HoldingJudge = Callable[[HoldingState], HoldingEvent | None]
"""Pure: called once or more inside a transaction that holds the lock of the hash; None changes nothing."""


@dataclass(frozen=True, slots=True)
class BlobOutcome:
    """What became of bytes that were sent: the blob, the decision, and the id of its event."""

    decision: DecisionKind
    blob: Blob
    event_id: str


@dataclass(frozen=True, slots=True)
class Published:
    """`object_used` is False when the blob has its bytes already: the reserved object is condemned and may go."""

    outcome: BlobOutcome | Replay
    object_used: bool


class BlobLedger(Protocol):
    """Holdings and blobs of a workspace. Every write is one transaction with its event.

    Raises `Unavailable` for a retry.
    """

    async def find(self, workspace: str, sha256: Sha256) -> Blob | None:
        """The blob if this workspace holds it, else None: unknown and not possessed look the same."""

    async def fits(self, workspace: str, sizes: Mapping[Sha256, int]) -> bool:
        """Whether the workspace could hold all of these bytes: it does already, or its quota has room for the rest now.

        A look without locks, so that bytes that cannot be kept need not come in; `publish` alone decides.
        """

    async def renew(
        self,
        workspace: str,
        hashes: Sequence[Sha256],
        judge: HoldingJudge,
        claim: Claim[BlobOutcome] | None = None,
        found: MediaInfo | None = None,
    ) -> dict[Sha256, BlobOutcome | Replay | None]:
        """Judge each hash that the workspace holds and record what the judge says.

        Returns the held ones whose bytes need not come again: a blob that is marked missing or corrupt is left out,
        unless a hold keeps its bytes from being taken. The value is None where the judge left the holding as it was. A
        claim goes with one hash,
        and so does `found`: what was seen in bytes that came again, see `standing_look`.
        """

    async def grant(
        self, workspace: str, sha256: Sha256, judge: HoldingJudge, claim: Claim[BlobOutcome] | None = None
    ) -> BlobOutcome | Replay:
        """Give the workspace a holding of a blob that another one sent.

        Raises `NotFound` where the judge says None, as there is no such blob; `QuotaExceeded`.
        """

    async def publish(
        self,
        workspace: str,
        reservation: Reservation,
        media: MediaInfo,
        judge: HoldingJudge,
        claim: Claim[BlobOutcome] | None = None,
    ) -> Published:
        """Make the reserved object live as the blob's and give the workspace its holding, in one transaction.

        Where the blob exists already the object is condemned instead, due at once, unless the blob is marked: then the
        object heals it, and the broken one is condemned. `media` is another look at the blob, see `standing_look`. The
        bytes must be durable under the reservation's key. Raises `QuotaExceeded` and nothing has changed; `Unavailable`
        when the object is no longer pending.
        """

    async def release(
        self, workspace: str, sha256: Sha256, actor: Actor, claim: Claim[str] | None = None
    ) -> str | Replay:
        """Give up a holding: returns the event's id. Raises `NotFound`, `BlobInUse` while refs need it."""
