"""Read what lies in the store, the longest unread first, and see whether it is still what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

from service.application.examine import examine
from service.application.findings import Kind, Report
from service.application.guard_store import GuardStore
from service.application.walk_store import health_judge, tell_of
from service.domain.errors import StorageUnavailable
from service.domain.health import Health
from service.observability import observed
from service.ports.clock import Clock
from service.ports.integrity import Integrity, KnownObject
from service.ports.scrubbing import Scrubbing
from service.ports.storage import Storage

CLAIM = timedelta(minutes=10)
_TOGETHER = 16
_FAULTS_IN_A_ROW = 8
_SLOWEST = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may cost: bytes read, seconds, bytes a second; None is no limit. What was begun is read to its end.

    Objects that were read less than `older_than` ago are left alone.
    """

    max_bytes: int | None = None
    max_seconds: float | None = None
    rate: int | None = None
    older_than: timedelta = timedelta()


TellBytes = Callable[[int], None]
"""Called with all bytes that were read so far."""


@dataclass(slots=True)
class _Meter:
    """What a run has cost so far."""

    budget: Budget
    tell: TellBytes
    bytes: int = 0
    started: float = field(default_factory=monotonic)

    @property
    def is_spent(self) -> bool:
        """Whether nothing more may be begun."""
        limits = ((self.budget.max_bytes, self.bytes), (self.budget.max_seconds, monotonic() - self.started))
        return any(limit is not None and used >= limit for limit, used in limits)

    async def pace(self, size: int) -> None:
        """Count bytes, and wait as long as the rate asks for."""
        self.bytes += size
        self.tell(self.bytes)
        if self.budget.rate is not None:
            await asyncio.sleep(max(0.0, self.bytes / self.budget.rate - (monotonic() - self.started)))


def _told(report: Report) -> dict[str, int]:
    return {"rows": report.rows, "bytes": report.bytes, **{kind.value: n for kind, n in report.counts.items()}}


@dataclass(frozen=True, slots=True)
class Scrub:
    """Claim, read, mark, note: object by object. The time of the last check is the checkpoint."""

    guard: GuardStore
    scrubbing: Scrubbing
    integrity: Integrity
    storage: Storage
    clock: Clock

    @observed("scrub.run", layer="usecase", facts=_told)
    async def __call__(self, budget: Budget, tell: TellBytes) -> Report:
        """Raises `WrongStore`, `BehindFence`, `Unavailable`; `StorageUnavailable` once nothing can be read any more.

        Any number may run at once: none reads what another one has claimed. One that is killed leaves its claims to the
        others after a while, and its checks count.
        """
        await self.guard()
        report, meter = Report(), _Meter(budget, tell)
        before, faults = await self.clock.ago(budget.older_than), 0
        while not meter.is_spent:
            claimed = [*await self.scrubbing.claim(before, _TOGETHER, self._claim_for(budget))]
            if not claimed:
                break
            while claimed and not meter.is_spent:
                faults = 0 if await self._check(claimed.pop(0), report, meter) else faults + 1
                if faults == _FAULTS_IN_A_ROW:
                    raise StorageUnavailable("The store cannot read one object after the other.")
            await self.scrubbing.release(claimed)
        report.bytes = meter.bytes
        report.left = await self.scrubbing.left(before)
        return report

    def _claim_for(self, budget: Budget) -> timedelta:
        """Longer than most batches take; a batch that takes longer may be read twice, which does no harm."""
        return CLAIM if budget.rate is None else CLAIM * max(1, _SLOWEST // budget.rate)

    async def _check(self, known: KnownObject, report: Report, meter: _Meter) -> bool:
        """False where the store could not read it: nothing is known then, and its last check stays as it was."""
        report.rows += 1
        try:
            look = await examine(self.storage, known, meter.pace)
        except StorageUnavailable:
            report.add(Kind.UNREADABLE, known.key, known.size)
            return False
        is_news = look.health is not Health.OK or known.health is not Health.OK
        if not is_news or await self.integrity.mark(known, health_judge(look.health)):
            tell_of(report, known, look)
        await self.scrubbing.note_checked(known)
        return True
