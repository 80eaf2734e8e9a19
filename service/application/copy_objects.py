"""One pass over all that the database knows: what the new store lacks is copied.

Rows come before bytes and go after them, keys are never used twice, and nobody removes bytes of a live row. So whatever
happens meanwhile, a copy of a live row's bytes is right, and one whose row is gone by now is nobody's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from service.application.copying import copy
from service.application.examine import examine
from service.application.findings import MOST_TOLD, Finding, Kind
from service.application.merging import known_objects, merged
from service.application.side_by_side import side_by_side
from service.application.throttle import Throttle
from service.application.walk_store import Tell, health_judge, place_of
from service.domain.errors import ObjectMissing, StorageUnavailable
from service.domain.health import Health
from service.ports.collection import Amount
from service.ports.integrity import Integrity, KnownObject, ObjectState
from service.ports.moves import MoveLedger
from service.ports.storage import Storage, StoredObject

Pair: TypeAlias = "tuple[KnownObject, StoredObject | None]"

_TOGETHER = 200
_EVERY = 100


@dataclass(slots=True)
class Pass:
    """What a pass saw: `objects` that must be in the new store, those that were `there`, `copied`, or `read_back` only.

    `vanished` were collected while they were copied. `findings`: what is `missing` in both stores, `corrupt` in the old
    one, or `foreign`, which are copies in the new one that read wrong.
    """

    objects: int = 0
    there: int = 0
    read_back: int = 0
    vanished: int = 0
    copied: Amount = field(default_factory=Amount)
    findings: list[Finding] = field(default_factory=list)
    unsettled: int = 0

    def add(self, kind: Kind, known: KnownObject) -> None:
        """Name a finding; bytes that nobody has keep nothing from ending."""
        self.unsettled += kind is not Kind.MISSING
        if len(self.findings) < MOST_TOLD:
            self.findings.append(Finding(kind, known.key, known.size, kind is Kind.MISSING))


@dataclass(frozen=True, slots=True)
class CopyObjects:
    """Copy what is lacking, `jobs` at a time. What was copied stays copied, whenever the pass ends."""

    ledger: MoveLedger
    integrity: Integrity
    source: Storage
    target: Storage
    jobs: int = 4

    async def __call__(self, done: Pass, doubtful: tuple[str, str] | None, throttle: Throttle, tell: Tell) -> None:
        """`doubtful` are the keys whose copies nobody may have read back.

        Raises `StorageUnavailable`, `StorageFull`, `Unavailable`: the next pass goes on.
        """
        lacking: list[Pair] = []
        async for pair in self._pairs(done, tell):
            if _is_sure(pair, doubtful):
                done.there += 1
                continue
            lacking.append(pair)
            if len(lacking) >= _TOGETHER:
                await self._settle_all(lacking, doubtful, done, throttle)
                lacking.clear()
        await self._settle_all(lacking, doubtful, done, throttle)
        await self.ledger.note_copies(None)
        tell(1.0)

    async def count(self, done: Pass, tell: Tell) -> None:
        """What a pass would copy now; nothing is changed."""
        async for known, stored in self._pairs(done, tell):
            if _is_sure((known, stored), None):
                done.there += 1
            else:
                done.copied += Amount(1, known.size)

    async def _pairs(self, done: Pass, tell: Tell) -> AsyncIterator[Pair]:
        """Each object whose bytes were acknowledged once, with what the new store lists of it."""
        async for known, stored in merged(known_objects(self.integrity), self.target.list()):
            if known is None or known.state is ObjectState.PENDING:
                continue
            done.objects += 1
            if done.objects % _EVERY == 0:
                tell(place_of(known.key))
            yield known, stored

    async def _settle_all(
        self, lacking: Sequence[Pair], doubtful: tuple[str, str] | None, done: Pass, throttle: Throttle
    ) -> None:
        """What was in doubt and comes later in the order of keys stays in doubt."""
        if lacking:
            first, last = lacking[0][0].key, lacking[-1][0].key
            await self.ledger.note_copies((first, last if doubtful is None else max(last, doubtful[1])))
            await side_by_side(_each(lacking), self.jobs, lambda pair: self._settle(pair, done, throttle))

    async def _settle(self, pair: Pair, done: Pass, throttle: Throttle) -> None:
        await throttle.begin()
        known, stored = pair
        if stored is not None and await self._read_back(known, done):
            return
        try:
            is_copied = await copy(self.source, self.target, known, throttle.pace)
        except ObjectMissing:
            await self._miss(known, done)
            return
        if is_copied:
            await self._account(known, done)
        else:
            await self.integrity.mark(known, health_judge(Health.CORRUPT))
            done.add(Kind.CORRUPT, known)

    async def _read_back(self, known: KnownObject, done: Pass) -> bool:
        """Whether the new store has it, be it a copy of a run that was killed, or put there by a replica."""
        found = (await examine(self.target, known)).health
        if found is Health.OK:
            done.read_back += 1
        elif found is Health.CORRUPT:
            done.add(Kind.FOREIGN, known)
        return found is not Health.MISSING

    async def _account(self, known: KnownObject, done: Pass) -> None:
        """Read the copy, then the row: bytes whose row went are nobody's, their end may have come before the copy."""
        found = (await examine(self.target, known)).health
        now = (await self.integrity.look([known.key])).get(known.key)
        if now is None:
            await self.target.delete(known.key)
            done.vanished += 1
        elif found is Health.OK:
            done.copied += Amount(1, known.size)
        elif found is Health.CORRUPT:
            done.add(Kind.FOREIGN, known)
        elif now.state is ObjectState.LIVE:
            raise StorageUnavailable("The new store does not have what it has just taken.")
        else:
            done.vanished += 1

    async def _miss(self, known: KnownObject, done: Pass) -> None:
        """Neither store has it: a loss only if its row is live in a look after both were asked."""
        if await self._read_back(known, done):
            return
        now = (await self.integrity.look([known.key])).get(known.key)
        if now is None or now.state is not ObjectState.LIVE:
            done.vanished += 1
            return
        await self.integrity.mark(now, health_judge(Health.MISSING))
        done.add(Kind.MISSING, known)


def _is_sure(pair: tuple[KnownObject, StoredObject | None], doubtful: tuple[str, str] | None) -> bool:
    known, stored = pair
    if stored is None or stored.size != known.size:
        return False
    return doubtful is None or not doubtful[0] <= known.key <= doubtful[1]


async def _each(lacking: Sequence[Pair]) -> AsyncIterator[Pair]:
    for pair in lacking:
        yield pair
