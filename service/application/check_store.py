"""The store must have what the database promises, and nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.application.examine import is_there
from service.application.findings import Kind, Report
from service.application.guard_store import GuardStore
from service.application.lifetimes import Lifetimes
from service.application.strays import Strays
from service.application.walk_store import Tell, WalkStore
from service.observability import observed
from service.ports.clock import Clock
from service.ports.space import Space
from service.ports.storage import StoredObject
from service.ports.unfinished import UnfinishedUploads

_PAGE = 200
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Check:
    """`dry_run`: change nothing. `max_delete_percent`: remove nothing if it were more of all stored objects.

    Bytes without a row stay until they are `min_age` old: a database that lost its last minute unnoticed must not cost
    the bytes of that minute. `recount`: charge workspaces what they hold.
    """

    min_age: timedelta
    dry_run: bool = False
    max_delete_percent: float = 100.0
    recount: bool = False


def _told(report: Report) -> dict[str, int]:
    return {"rows": report.rows, "stored": report.stored, **{kind.value: n for kind, n in report.counts.items()}}


@dataclass(frozen=True, slots=True)
class CheckStore:
    """Walk, then remove garbage; end uploads that never ended; compare what is charged with what is held."""

    guard: GuardStore
    walk: WalkStore
    space: Space
    clock: Clock
    unfinished: UnfinishedUploads
    lifetimes: Lifetimes

    @observed("fsck.check", layer="usecase", facts=_told)
    async def __call__(self, check: Check, tell: Tell) -> Report:
        """Raises `WrongStore` and `BehindFence` before anything is done; `StorageUnavailable`, `Unavailable`.

        Any number may run at once, beside uploads and collectors; what is done is done once.
        """
        await (self.guard.look() if check.dry_run else self.guard())
        report = Report()
        with Strays() as strays:
            await self.walk(report, strays, tell, dry_run=check.dry_run)
            await self._remove(check, report, strays)
        uploads_before = await self.clock.ago(self.lifetimes.upload)
        report.unfinished = await self.unfinished.end_unfinished(uploads_before, dry_run=check.dry_run)
        report.drift = [*await self.space.drifted()]
        if check.recount and not check.dry_run:
            for drift in report.drift:
                await self.space.recount(drift.slug)
            report.drift = [*await self.space.drifted()]
        return report

    async def _remove(self, check: Check, report: Report, strays: Strays) -> None:
        """The rows are read once more, after the whole listing, and the fence is raised, as before every removal."""
        share = 100 * strays.count / max(report.stored, 1)
        removes = not check.dry_run and share <= check.max_delete_percent
        if not removes and share > check.max_delete_percent:
            report.too_much = share
        if removes and strays.count:
            await self.guard()
            await self.guard.advance()
        before = await self.clock.ago(check.min_age)
        for page in strays.pages(_PAGE):
            known = await self.walk.integrity.look([stored.key for stored in page])
            garbage = [stored for stored in page if stored.key not in known]
            for start in range(0, len(garbage), _AT_ONCE):
                together = garbage[start : start + _AT_ONCE]
                await asyncio.gather(*(self._settle(stored, before, report, removes=removes) for stored in together))

    async def _settle(self, stored: StoredObject, before: datetime, report: Report, *, removes: bool) -> None:
        """Whoever knew them may have removed them since the listing, and their row after them."""
        if not await is_there(self.walk.storage, stored.key):
            return
        if stored.modified_at >= before:
            report.add(Kind.YOUNG, stored.key, stored.size)
            return
        if removes:
            await self.walk.storage.delete(stored.key)
        report.add(Kind.GARBAGE, stored.key, stored.size, settled=removes)
