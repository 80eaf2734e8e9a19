"""What the memory ledgers share: how things stand, and the log that made them so.

Nothing here awaits, so every change happens at once. A change is its event: `record` writes by `evolve` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from service.domain.blob import Blob, Sha256
from service.domain.errors import Gone, IdempotencyKeyReuse, NotFound, QuotaExceeded
from service.domain.event import (
    DecisionKind,
    EntityState,
    Event,
    EventType,
    HoldingEvent,
    RefEvent,
    evolve,
    evolve_holding,
)
from service.domain.ref import Holding, Ref, ResolvedRef
from service.domain.slot import EntityKey
from service.ports.access import ApiKey, Workspace
from service.ports.idempotency import Claim, Outcome, Replay
from service.ports.objects import Reservation
from service.ports.trash import TOMBSTONE
from service.schemas.cursor import Cursor

_NEVER = datetime.min.replace(tzinfo=UTC)
_ONE_REJECTION_IN = timedelta(minutes=1)


class ObjectState(StrEnum):
    """How far an object has come; it only moves forward."""

    PENDING = "pending"
    LIVE = "live"
    CONDEMNED = "condemned"


@dataclass(slots=True)
class MemoryDatabase:
    """`ahead` moves its clock."""

    ahead: timedelta = timedelta()
    workspaces: dict[str, Workspace] = field(default_factory=dict)
    keys: dict[str, ApiKey] = field(default_factory=dict)
    objects: dict[int, tuple[Reservation, ObjectState]] = field(default_factory=dict)
    blobs: dict[Sha256, Blob] = field(default_factory=dict)
    holdings: dict[tuple[str, Sha256], Holding] = field(default_factory=dict)
    entities: dict[EntityKey, EntityState] = field(default_factory=dict)
    tombstones: dict[UUID, tuple[str, datetime]] = field(default_factory=dict)
    log: list[Event] = field(default_factory=list)
    _answers: dict[tuple[str, str], tuple[bytes, bytes]] = field(default_factory=dict)
    _rejected: dict[tuple[str, EntityKey, str | None], datetime] = field(default_factory=dict)

    def now(self) -> datetime:
        """The time in UTC with milliseconds."""
        time = datetime.now(UTC) + self.ahead
        return time.replace(microsecond=time.microsecond // 1000 * 1000)

    def workspace(self, slug: str) -> Workspace:
        """Raises `NotFound`."""
        if slug not in self.workspaces:
            raise NotFound(f"There is no workspace {slug}.")
        return self.workspaces[slug]

    def held(self, workspace: str, sha256: Sha256) -> Blob | None:
        """The blob as this workspace knows it, since it sent the bytes; None unless it did."""
        holding = self.holdings.get((workspace, sha256))
        return None if holding is None else replace(self.blobs[sha256], created_at=holding.acquired_at)

    def resolved(self, ref: Ref) -> ResolvedRef:
        """A ref with its blob. Raises `KeyError` when it is not held."""
        acquired_at = self.holdings[ref.entity.workspace, ref.sha256].acquired_at
        return ResolvedRef(ref, replace(self.blobs[ref.sha256], created_at=acquired_at))

    def ref(self, workspace: str, ref_id: UUID) -> Ref:
        """A ref by its id, live or trashed. Raises `NotFound`, or `Gone` while it has a tombstone."""
        for resolved in self.refs(workspace):
            if resolved.ref.ref_id == ref_id:
                return resolved.ref
        owner, purged_at = self.tombstones.get(ref_id, ("", _NEVER))
        if owner == workspace and self.now() - purged_at < TOMBSTONE:
            raise Gone
        raise NotFound("There is no such media here.")

    def refs(self, workspace: str) -> list[ResolvedRef]:
        """All refs of a workspace, live and trashed, oldest first."""
        states = [state for entity, state in self.entities.items() if entity.workspace == workspace]
        refs = [ref for state in states for role in (*state.live.values(), state.trashed) for ref in role]
        return [self.resolved(ref) for ref in sorted(refs, key=lambda ref: (ref.created_at, ref.ref_id))]

    def record(self, event: Event) -> str | None:
        """Carry out an event: its id, or None for a refusal that was recorded a moment ago.

        Raises `QuotaExceeded`, and nothing has changed.
        """
        if isinstance(event, RefEvent):
            if event.type is EventType.REF_REJECTED and not self._is_fresh(event):
                return None
            self.entities[event.entity] = evolve(self.entities.get(event.entity, EntityState()), event)
            if event.type is EventType.REF_PURGED and event.ref is not None:
                self.tombstones[event.ref.ref_id] = event.entity.workspace, event.time
        if isinstance(event, HoldingEvent):
            self._hold(event)
        self.log.append(event)
        return str(Cursor(1, len(self.log), 0))

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """What is recorded within is undone if it ends with an exception."""
        kept = dict(self.entities), dict(self.tombstones), [*self.log], dict(self._rejected)
        try:
            yield
        except BaseException:
            self.entities, self.tombstones, self.log, self._rejected = kept
            raise

    def replay(self, workspace: str, claim: Claim[Outcome] | None) -> Replay | None:
        """The stored answer to this request. Raises `IdempotencyKeyReuse`."""
        if claim is None or (workspace, claim.key) not in self._answers:
            return None
        fingerprint, answer = self._answers[workspace, claim.key]
        if fingerprint != claim.fingerprint:
            raise IdempotencyKeyReuse
        return Replay(answer)

    def answer(self, workspace: str, claim: Claim[Outcome] | None, outcome: Outcome) -> None:
        """Store the answer, if the request came with a key."""
        if claim is not None:
            self._answers[workspace, claim.key] = claim.fingerprint, claim.render(outcome)

    def _is_fresh(self, rejection: RefEvent) -> bool:
        refused = rejection.actor.id, rejection.entity, rejection.code
        recorded = self._rejected.get(refused)
        if recorded is not None and rejection.time - recorded < _ONE_REJECTION_IN:
            return False
        self._rejected[refused] = rejection.time
        return True

    def _hold(self, event: HoldingEvent) -> None:
        holding = evolve_holding(event)
        if event.decision is DecisionKind.INSERT:
            self._use(event.holding.workspace, event.holding.size, 1)
        if holding is None:
            self._use(event.holding.workspace, -event.holding.size, -1)
            del self.holdings[event.holding.workspace, event.holding.sha256]
        else:
            self.holdings[holding.workspace, holding.sha256] = holding

    def has_room(self, slug: str, size: int, items: int) -> bool:
        """Whether so much more is within the quota. Raises `NotFound`."""
        workspace = self.workspace(slug)
        fit_in = workspace.max_bytes is None or workspace.used_bytes + size <= workspace.max_bytes
        return fit_in and (workspace.max_items is None or workspace.used_items + items <= workspace.max_items)

    def _use(self, slug: str, size: int, items: int) -> None:
        if items > 0 and not self.has_room(slug, size, items):
            raise QuotaExceeded
        workspace = self.workspaces[slug]
        used_bytes, used_items = workspace.used_bytes + size, workspace.used_items + items
        self.workspaces[slug] = replace(workspace, used_bytes=used_bytes, used_items=used_items)
