"""A database that was restored to an earlier time takes back what the store has had since."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from service.application.findings import Kind, Report
from service.application.guard_store import GuardStore, require_abreast
from service.application.lifetimes import Lifetimes
from service.application.staging import stage
from service.application.strays import Strays
from service.application.walk_store import Tell, WalkStore
from service.domain.errors import BehindFence, NotFound, ObjectMissing
from service.domain.event import HoldingEvent
from service.domain.health_decision import REPAIR
from service.domain.holding_decision import HoldingState, decide_arrival
from service.observability import observed
from service.ports.access import WorkspaceStore
from service.ports.adoption import Adopted, Adoption, Stray
from service.ports.blobs import HoldingJudge
from service.ports.prober import Prober
from service.ports.sentinel import Sentinel
from service.ports.storage import StoredObject, name_in

_PAGE = 200
_KINDS = {Adopted.ADOPTED: Kind.ADOPTED, Adopted.HEALED: Kind.HEALED, Adopted.SPARE: Kind.SPARE}


def _told(report: Report) -> dict[str, int]:
    return {"rows": report.rows, "stored": report.stored, **{kind.value: n for kind, n in report.counts.items()}}


@dataclass(frozen=True, slots=True)
class AdoptObjects:
    """Mark what was collected since, adopt what was sent since, then lift the fence."""

    guard: GuardStore
    walk: WalkStore
    adoption: Adoption
    workspaces: WorkspaceStore
    prober: Prober
    lifetimes: Lifetimes

    @observed("fsck.adopt", layer="usecase", facts=_told)
    async def __call__(self, workspace: str | None, tell: Tell, *, dry_run: bool) -> Report:
        """`workspace` comes to hold the blobs that the database did not know; None: nobody does.

        Nothing is removed. After a restore nothing loses its last reason either for as long as a holding lives, so that
        callers can find out what they must do again. Raises `WrongStore`, `NotFound`, `StorageUnavailable`,
        `Unavailable`: then the fence stands, and the command is to be repeated.
        """
        if workspace is not None and not await self.workspaces.exists(workspace):
            raise NotFound(f"There is no workspace {workspace}.")
        shown = await self.guard.generation()
        own = await (self.guard.look_for_own() if dry_run else self.guard.require_own())
        behind = _is_behind(own, shown)
        report = Report()
        with Strays() as strays:
            await self.walk(report, strays, tell, dry_run=dry_run)
            for page in strays.pages(_PAGE):
                for stored in page:
                    await self._adopt(stored, workspace, report, dry_run=dry_run)
        if not dry_run:
            await self.guard.lift(self.lifetimes.holding if behind else timedelta())
        return report

    async def _adopt(self, stored: StoredObject, workspace: str | None, report: Report, *, dry_run: bool) -> None:
        try:
            stray = await self._read(stored)
        except ObjectMissing:
            return  # whoever removed it since the listing knew what it was
        if stray is None:
            report.add(Kind.FOREIGN, stored.key, stored.size)
        elif dry_run:
            report.add(Kind.ADOPTED, stored.key, stored.size)
        else:
            judge, keep_for = self._judge(stray, workspace), self.lifetimes.holding
            adopted = await self.adoption.adopt(stray, workspace, judge, keep_for)
            if adopted is not Adopted.KNOWN:
                report.add(_KINDS[adopted], stored.key, stored.size, settled=True)

    async def _read(self, stored: StoredObject) -> Stray | None:
        """The bytes with what is found in them, None where they do not hash to the name in their key."""
        stream = await self.walk.storage.open(stored.key)
        try:
            staged = await stage(self.walk.storage, aiter(stream), stored.size)
        finally:
            await stream.aclose()
        try:
            if staged.sha256 != name_in(stored.key):
                return None
            media = await self.prober.probe(staged.object.path)
            return Stray(stored.key, staged.sha256, staged.size, media)
        finally:
            await asyncio.shield(staged.object.cancel())

    def _judge(self, stray: Stray, workspace: str | None) -> HoldingJudge:
        def judge(state: HoldingState) -> HoldingEvent | None:
            if workspace is None or state.on_hold:
                return None
            return decide_arrival(state, workspace, stray.sha256, stray.size, self.lifetimes.holding, REPAIR)

        return judge


def _is_behind(expected: Sentinel, generation: int | None) -> bool:
    try:
        require_abreast(expected, generation)
    except BehindFence:
        return True
    return False
