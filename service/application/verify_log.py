"""Whether the log tells the tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Generic, TypeVar, cast

from service.domain.event import EntityState, HoldEvent, HoldingEvent, RefEvent, evolve_holding
from service.domain.hold import Hold
from service.domain.ref import Holding, Ref
from service.domain.replay import BrokenStory, Tombstone, refs_of, retell_entity, retell_hold
from service.domain.slot import EntityKey
from service.ports.archive import Archive, Books, Entry
from service.ports.trash import TOMBSTONE

Subject = TypeVar("Subject")
State = TypeVar("State")
Happening = TypeVar("Happening")
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Difference:
    """Something of which the log and the tables say different things."""

    what: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One subject, of whose log so many events were read; None where log and tables agree."""

    what: str
    events: int
    difference: Difference | None


@dataclass(frozen=True, slots=True)
class _Kind(Generic[State, Happening, Row]):
    """How subjects of a kind are folded, and what is wrong with them, if anything, beside their rows."""

    what: str
    fold: Callable[[State | None, Happening], State | None]
    judge: Callable[[State | None, Sequence[Row]], str | None]


@dataclass(frozen=True, slots=True)
class VerifyLog:
    """Fold the whole log, subject by subject, and hold it against the tables."""

    archive: Archive

    async def __call__(self) -> AsyncIterator[Finding]:
        """A finding for every entity, holding, hold and purged ref: of one moment, on a system that goes on living."""
        async with self.archive.opened() as books:
            for findings in _all_findings(books):
                async for finding in findings:
                    yield finding


def _all_findings(books: Books) -> list[AsyncIterator[Finding]]:
    entities = _Kind("entity", _entity_after, _entity_fault)
    holdings = _Kind("holding", _holding_after, _holding_fault)
    holds = _Kind("hold", _hold_after, _hold_fault)
    tombstones = _Kind("tombstone", _tombstone_after, partial(_tombstone_fault, books.now))
    return [
        _findings(entities, books.entities()),
        _findings(holdings, books.holdings()),
        _findings(holds, books.holds()),
        _findings(tombstones, books.tombstones()),
    ]


async def _findings(
    kind: _Kind[State, Happening, Row], entries: AsyncIterator[Entry[Subject, State, Happening, Row]]
) -> AsyncIterator[Finding]:
    account: _Account[Subject, State, Happening, Row] | None = None
    async for entry in entries:
        if account is None or account.subject != entry.subject:
            if account is not None:
                yield account.finding()
            account = _Account(kind, entry.subject)
        account.take(entry)
    if account is not None:
        yield account.finding()


class _Account(Generic[Subject, State, Happening, Row]):
    """What has been read of one subject."""

    def __init__(self, kind: _Kind[State, Happening, Row], subject: Subject) -> None:
        self.subject = subject
        self._kind = kind
        self._state: State | None = None
        self._rows: list[Row] = []
        self._events = 0
        self._broken: str | None = None

    def take(self, entry: Entry[Subject, State, Happening, Row]) -> None:
        if entry.start is not None:
            self._state = entry.start
        elif entry.event is not None:
            self._events += 1
            self._tell(entry.event)
        else:
            self._rows.append(cast("Row", entry.row))

    def finding(self) -> Finding:
        fault = self._broken or self._kind.judge(self._state, self._rows)
        difference = None if fault is None else Difference(self._kind.what, subject_text(self.subject), fault)
        return Finding(self._kind.what, self._events, difference)

    def _tell(self, event: Happening) -> None:
        if self._broken is None:
            try:
                self._state = self._kind.fold(self._state, event)
            except BrokenStory as error:
                self._broken = str(error)


def subject_text(subject: object) -> str:
    """A subject for people: `demo book 42`."""
    match subject:
        case EntityKey():
            return f"{subject.workspace} {subject.type} {subject.id}"
        case tuple():
            return " ".join(str(part) for part in subject)
        case _:
            return str(subject)


def _entity_after(state: EntityState | None, event: RefEvent) -> EntityState:
    return retell_entity(state or EntityState(), event)


def _entity_fault(state: EntityState | None, rows: Sequence[int | Ref]) -> str | None:
    told = state or EntityState()
    version = next((row for row in rows if isinstance(row, int)), 0)
    if version != told.version:
        return f"the tables say version {version}, the log {told.version}"
    refs = frozenset(row for row in rows if isinstance(row, Ref))
    differing = sorted({str(ref.ref_id) for ref in refs ^ refs_of(told)})
    return f"they differ in the refs {', '.join(differing[:5])}" if differing else None


def _holding_after(_: Holding | None, event: HoldingEvent) -> Holding | None:
    return evolve_holding(event)


def _holding_fault(state: Holding | None, rows: Sequence[Holding]) -> str | None:
    return _fault(next(iter(rows), None), state)


def _hold_after(_: Hold | None, event: HoldEvent) -> Hold | None:
    return retell_hold(event)


def _hold_fault(state: Hold | None, rows: Sequence[Hold]) -> str | None:
    return _fault(next(iter(rows), None), state)


def _tombstone_after(_: Tombstone | None, event: Tombstone) -> Tombstone:
    return event


def _tombstone_fault(now: datetime, state: Tombstone | None, rows: Sequence[Tombstone]) -> str | None:
    """Both are only asked for as long as a tombstone is kept."""

    def young(tombstone: Tombstone | None) -> Tombstone | None:
        return tombstone if tombstone is not None and now - tombstone.purged_at < TOMBSTONE else None

    return _fault(young(next(iter(rows), None)), young(state))


def _fault(row: object, told: object) -> str | None:
    return None if row == told else f"the tables say {row or 'nothing'}, the log {told or 'nothing'}"
