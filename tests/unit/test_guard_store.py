"""The sentinel and the fence: what is written, in which order, and what a slow writer cannot spoil."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from service.application.guard_store import FENCE, GuardStore
from service.domain.errors import BehindFence, WrongStore
from service.ports.sentinel import Sentinel

pytestmark = pytest.mark.anyio


@dataclass
class Ledger:
    """The database's half; `raised_by_others` is what happens while somebody writes a note."""

    known: Sentinel = field(default_factory=lambda: Sentinel("ours", placed=True))
    raised_by_others: int = 0

    async def expected(self) -> Sentinel:
        if self.raised_by_others:
            self.raised_by_others -= 1
            await self.advance()
        return self.known

    async def note_placed(self) -> None:
        self.known = replace(self.known, placed=True)

    async def advance(self) -> int:
        self.known = replace(self.known, generation=self.known.generation + 1, lags=False)
        return self.known.generation

    async def settle(self, at_least: int, rest: timedelta) -> int:
        self.known = replace(
            self.known, generation=max(at_least, self.known.generation) + 1, moved=False, rests=bool(rest)
        )
        return self.known.generation


@dataclass
class Notes:
    """The store's half."""

    kept: dict[str, bytes] = field(default_factory=lambda: {"sentinel": b"ours"})
    written: list[bytes] = field(default_factory=list)

    async def read_note(self, name: str) -> bytes | None:
        return self.kept.get(name)

    async def write_note(self, name: str, content: bytes) -> None:
        self.kept[name] = content
        self.written.append(content)


async def test_the_fence_is_written_when_it_lags_and_not_otherwise() -> None:
    ledger, notes = Ledger(Sentinel("ours", placed=False, lags=True)), Notes({})
    guard = GuardStore(ledger, notes)
    for _ in range(3):
        await guard()
    assert notes.written == [b"ours", b"1"]
    assert notes.kept == {"sentinel": b"ours", "fence": b"1"}


async def test_an_older_number_over_a_newer_one_is_mended() -> None:
    ledger, notes = Ledger(raised_by_others=1), Notes()
    await GuardStore(ledger, notes).advance()
    assert notes.written == [b"1", b"2"]


async def test_others_who_never_rest_do_not_keep_a_writer_for_ever() -> None:
    ledger, notes = Ledger(raised_by_others=100), Notes()
    await GuardStore(ledger, notes).advance()
    assert notes.written == [b"1", b"2", b"3"]


async def test_a_number_raised_between_two_looks_is_no_restore() -> None:
    ledger, notes = Ledger(), Notes()
    guard = GuardStore(ledger, notes)
    read = notes.read_note

    async def raised_after(name: str) -> bytes | None:
        found = await read(name)
        if name == FENCE:
            await guard._write(await ledger.advance())
        return found

    notes.read_note = raised_after  # type: ignore[method-assign]
    await guard()


@pytest.mark.parametrize("shown", [b"5", b"many"])
async def test_lifting_sets_the_fence_above_everything_that_can_be_read(shown: bytes) -> None:
    ledger, notes = Ledger(Sentinel("ours", placed=True, generation=3, moved=True)), Notes()
    notes.kept[FENCE] = shown
    guard = GuardStore(ledger, notes)
    with pytest.raises(BehindFence):
        await guard()
    await guard.lift(timedelta(days=7))
    known = await guard()
    assert (known.generation, known.rests) == (6 if shown == b"5" else 4, True)
    assert notes.kept[FENCE] == str(known.generation).encode()


@pytest.mark.parametrize("found", [None, b"theirs"])
async def test_the_wrong_store_is_told_whatever_the_fence_says(found: bytes | None) -> None:
    notes = Notes({} if found is None else {"sentinel": found})
    with pytest.raises(WrongStore):
        await GuardStore(Ledger(), notes)()
    assert notes.written == []


@pytest.mark.parametrize("notes", [{}, {"sentinel": b"ours"}])
async def test_a_look_writes_nothing(notes: dict[str, bytes]) -> None:
    known = Sentinel("ours", placed=False, lags=True)
    ledger, kept = Ledger(known), Notes(dict(notes))
    guard = GuardStore(ledger, kept)
    assert [await guard.look(), await guard.look_for_own()] == [known, known]
    assert (ledger.known, kept.kept, kept.written) == (known, notes, [])


async def test_a_look_tells_the_wrong_store_and_a_restored_database() -> None:
    with pytest.raises(WrongStore):
        await GuardStore(Ledger(), Notes({"sentinel": b"theirs"})).look()
    with pytest.raises(BehindFence):
        await GuardStore(Ledger(Sentinel("ours", placed=True, moved=True)), Notes()).look()
