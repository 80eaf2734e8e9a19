"""Every key that database or store know, once, and what is wrong with it.

A row is committed before its bytes are put and goes after them, and a key is never used twice. So bytes without a row
are garbage if the row is absent from a look after the listing, and a live object without bytes is a loss if it is live
in a look after the store's own "not there".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from service.application.examine import Look, examine, glance
from service.application.findings import Kind, Report
from service.application.merging import Pair, known_objects, merged
from service.application.strays import Strays
from service.domain.event import BlobEvent
from service.domain.health import Health
from service.domain.health_decision import REPAIR, HealthState, decide_health
from service.ports.integrity import HealthJudge, Integrity, KnownObject, ObjectState
from service.ports.storage import Storage, StoredObject

Tell = Callable[[float], None]
"""Called with how much of the work is done, 0 to 1."""

_TOGETHER = 100
_EVERY = 100
_KEYS = 16**4


@dataclass(frozen=True, slots=True)
class WalkStore:
    """Compare, mark what is broken or whole again, and put aside what has no row."""

    integrity: Integrity
    storage: Storage
    quarantine: timedelta

    async def __call__(self, report: Report, strays: Strays, tell: Tell, *, dry_run: bool) -> None:
        """Raises `StorageUnavailable`, `Unavailable`; what was marked until then stays marked."""
        suspects: list[Pair] = []
        seen = 0
        async for known, stored in merged(known_objects(self.integrity), self.storage.list()):
            report.rows += known is not None
            report.stored += stored is not None
            report.bytes += 0 if stored is None else stored.size
            if is_suspect(known, stored):
                suspects.append((known, stored))
            if len(suspects) >= _TOGETHER:
                await self._settle(suspects, report, strays, dry_run=dry_run)
                suspects.clear()
            seen += 1
            if seen % _EVERY == 0:
                tell(place_of(key_of(known, stored)))
        await self._settle(suspects, report, strays, dry_run=dry_run)

    async def _settle(self, suspects: Sequence[Pair], report: Report, strays: Strays, *, dry_run: bool) -> None:
        """Look at the rows again, now that the store was asked, and judge by that."""
        now = await self.integrity.look([key_of(*pair) for pair in suspects]) if suspects else {}
        for known, stored in suspects:
            if (row := now.get(key_of(known, stored))) is not None:
                await self._judge(row, report, dry_run=dry_run)
            elif stored is not None:
                strays.add(stored)

    async def _judge(self, known: KnownObject, report: Report, *, dry_run: bool) -> None:
        if known.state is not ObjectState.LIVE:
            return
        if known.health is None:
            done = not dry_run and await self.integrity.condemn_unused(known, self.quarantine)
            report.add(Kind.UNUSED, known.key, known.size, settled=done)
            return
        look = await self._look(known)
        if await (self._is_shown(known) if dry_run else self.integrity.mark(known, health_judge(look.health))):
            tell_of(report, known, look)

    async def _is_shown(self, known: KnownObject) -> bool:
        """Whether a blob shows the object even after the store was asked; for those who may not mark it."""
        now = (await self.integrity.look([known.key])).get(known.key)
        return now is not None and now.health is not None

    async def _look(self, known: KnownObject) -> Look:
        """Read only what must be read: damage is found by a scrub, unless its size shows it."""
        found = await glance(self.storage, known)
        if found is Health.OK and known.health is not Health.MISSING:
            return Look(known.health or Health.OK)
        return Look(found) if found is Health.MISSING else await examine(self.storage, known)


def health_judge(found: Health) -> HealthJudge:
    """What the ledger is handed."""

    def judge(state: HealthState) -> BlobEvent | None:
        return decide_health(state, found, REPAIR)

    return judge


def tell_of(report: Report, known: KnownObject, look: Look) -> None:
    """Count what was seen of a blob's object, unless all is well and was."""
    match look.health:
        case Health.MISSING:
            report.add(Kind.MISSING, known.key, known.size)
        case Health.CORRUPT:
            report.add(Kind.CORRUPT, known.key, known.size)
        case Health.OK if not look.steady:
            report.add(Kind.UNSTEADY, known.key, known.size)
        case Health.OK if known.health is not Health.OK:
            report.add(Kind.HEALED, known.key, known.size)


def is_suspect(known: KnownObject | None, stored: StoredObject | None) -> bool:
    """Whether this must be looked at again; rows of objects that are not live need no bytes."""
    if known is None:
        return True
    if known.state is not ObjectState.LIVE:
        return False
    return stored is None or stored.size != known.size or known.health is not Health.OK


def key_of(known: KnownObject | None, stored: StoredObject | None) -> str:
    """The key that both are about; one of them is there."""
    return known.key if known is not None else "" if stored is None else stored.key


def place_of(key: str) -> float:
    """How far the walk has come: keys begin with the digits of hashes, which are spread evenly."""
    return int(key[:2] + key[3:5], 16) / _KEYS
