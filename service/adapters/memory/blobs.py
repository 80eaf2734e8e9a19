"""The blob ledger in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from service.adapters.memory.database import MemoryDatabase, ObjectState
from service.domain.blob import Blob, MediaInfo, Sha256
from service.domain.errors import BlobInUse, NotFound, Unavailable
from service.domain.event import Actor, DecisionKind, EventType, HoldingEvent
from service.domain.holding_decision import HoldingState, standing_look
from service.domain.ref import kept_by
from service.ports.blobs import BlobOutcome, HoldingJudge, Published
from service.ports.idempotency import Claim, Replay
from service.ports.objects import Reservation


@dataclass(frozen=True, slots=True)
class MemoryBlobs:
    """`BlobLedger` in memory."""

    database: MemoryDatabase

    async def find(self, workspace: str, sha256: Sha256) -> Blob | None:
        """See the port."""
        self.database.workspace(workspace)
        return self.database.held(workspace, sha256)

    async def fits(self, workspace: str, sizes: Mapping[Sha256, int]) -> bool:
        """See the port."""
        new = [size for sha256, size in sizes.items() if self.database.held(workspace, sha256) is None]
        return not new or self.database.has_room(workspace, sum(new), len(new))

    async def renew(
        self,
        workspace: str,
        hashes: Sequence[Sha256],
        judge: HoldingJudge,
        claim: Claim[BlobOutcome] | None = None,
        found: MediaInfo | None = None,
    ) -> dict[Sha256, BlobOutcome | Replay | None]:
        """See the port."""
        self.database.workspace(workspace)
        held = sorted(sha256 for sha256 in set(hashes) if (workspace, sha256) in self.database.holdings)
        if found is not None:
            for sha256 in held:
                self._look(sha256, found)
        return {sha256: self._renew(workspace, sha256, judge, claim) for sha256 in held}

    async def grant(
        self, workspace: str, sha256: Sha256, judge: HoldingJudge, claim: Claim[BlobOutcome] | None = None
    ) -> BlobOutcome | Replay:
        """See the port."""
        database = self.database
        database.workspace(workspace)
        if (replay := database.replay(workspace, claim)) is not None:
            return replay
        blob = database.blobs.get(sha256)
        size = None if blob is None else blob.size
        event = judge(HoldingState(database.now(), database.holdings.get((workspace, sha256)), size))
        if event is None:
            raise NotFound("There is no such blob.")
        return self._outcome(event, database.record(event), claim)

    async def publish(
        self,
        workspace: str,
        reservation: Reservation,
        media: MediaInfo,
        judge: HoldingJudge,
        claim: Claim[BlobOutcome] | None = None,
    ) -> Published:
        """See the port."""
        database, sha256 = self.database, reservation.sha256
        database.workspace(workspace)
        if (replay := database.replay(workspace, claim)) is not None:
            self._settle(reservation, ObjectState.CONDEMNED)
            return Published(replay, object_used=False)
        if database.objects.get(reservation.object_id) != (reservation, ObjectState.PENDING):
            raise Unavailable("The upload took longer than its lease.")
        now, is_new = database.now(), sha256 not in database.blobs
        event = judge(HoldingState(now, database.holdings.get((workspace, sha256))))
        if event is None:
            raise RuntimeError("bytes that arrived are always a decision")
        event_id = database.record(event)
        database.blobs.setdefault(sha256, Blob(sha256, reservation.size, media, now))
        self._look(sha256, media)
        self._settle(reservation, ObjectState.LIVE if is_new else ObjectState.CONDEMNED)
        return Published(self._outcome(event, event_id, claim), object_used=is_new)

    async def release(
        self, workspace: str, sha256: Sha256, actor: Actor, claim: Claim[str] | None = None
    ) -> str | Replay:
        """See the port."""
        self.database.workspace(workspace)
        if (replay := self.database.replay(workspace, claim)) is not None:
            return replay
        holding = self.database.holdings.get((workspace, sha256))
        if holding is None:
            raise NotFound("This workspace does not hold these bytes.")
        if any(sha256 in kept_by(ref.ref) for ref in self.database.refs(workspace)):
            raise BlobInUse
        now = self.database.now()
        event_id = self.database.record(
            HoldingEvent(EventType.HOLDING_RELEASED, DecisionKind.RELEASE, now, actor, holding)
        )
        self.database.answer(workspace, claim, event_id or "")
        return event_id or ""

    def _renew(
        self, workspace: str, sha256: Sha256, judge: HoldingJudge, claim: Claim[BlobOutcome] | None
    ) -> BlobOutcome | Replay | None:
        if (replay := self.database.replay(workspace, claim)) is not None:
            return replay
        event = judge(HoldingState(self.database.now(), self.database.holdings[workspace, sha256]))
        return None if event is None else self._outcome(event, self.database.record(event), claim)

    def _outcome(self, event: HoldingEvent, event_id: str | None, claim: Claim[BlobOutcome] | None) -> BlobOutcome:
        workspace, sha256 = event.holding.workspace, event.holding.sha256
        blob = self.database.held(workspace, sha256)
        if blob is None or event_id is None:
            raise RuntimeError("what was just acquired is held, on record")
        outcome = BlobOutcome(event.decision, blob, event_id)
        self.database.answer(workspace, claim, outcome)
        return outcome

    def _look(self, sha256: Sha256, found: MediaInfo) -> None:
        known = self.database.blobs[sha256]
        self.database.blobs[sha256] = replace(known, media=standing_look(known.media, found))

    def _settle(self, reservation: Reservation, state: ObjectState) -> None:
        self.database.objects[reservation.object_id] = reservation, state
