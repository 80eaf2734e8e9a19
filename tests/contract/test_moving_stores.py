"""Two stores as one, whichever of them is whose: an object is read, listed and removed wherever it lies."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from service.adapters.memory.storage import MemoryStorage
from service.adapters.moving import Elsewhere, MovingStorage
from service.application.guard_store import NOTE
from service.application.standing import StoreStanding
from service.domain.errors import ObjectMissing, StorageUnavailable, Unavailable
from service.ports.moves import Move, Stores
from tests.parts.blobs import get, key_for, keys, put

pytestmark = pytest.mark.anyio

OURS, SEAL = "ours", "nobody's"
OLD, NEW = "file:///old", "file:///new"
UNDER_WAY = Stores(1, OURS, Move(OLD, NEW, SEAL))


class Ledger:
    """A database that says what a test has it say."""

    def __init__(self) -> None:
        self.says: Stores | Unavailable = Stores(0, OURS)
        self.asked = 0
        self.is_slow = False

    async def stores(self) -> Stores:
        self.asked += 1
        if self.is_slow:
            await asyncio.Event().wait()
        if isinstance(self.says, Unavailable):
            raise self.says
        return self.says


@dataclass
class Two:
    """Both stores, and how a process with either sees them."""

    old: MemoryStorage
    new: MemoryStorage
    ledger: Ledger = field(default_factory=Ledger)
    opened: list[str] = field(default_factory=list)
    elsewhere: list[Elsewhere] = field(default_factory=list)

    def seen_from(self, own: str) -> MovingStorage:
        store = self.old if own == OLD else self.new

        async def opened(location: str) -> Any:
            self.opened.append(location)
            return self.old if location == OLD else self.new

        self.elsewhere.append(Elsewhere(StoreStanding(cast("Any", self.ledger), store), own, opened))
        return MovingStorage(store, self.elsewhere[-1])


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    old, new = MemoryStorage(tmp_path / "old"), MemoryStorage(tmp_path / "new")
    for each in (old, new):
        await each.aopen()
        await each.write_note(NOTE, OURS.encode())
    made = Two(old, new)
    yield made
    for elsewhere in made.elsewhere:
        await elsewhere.aclose()


@pytest.mark.parametrize("own", [OLD, NEW])
async def test_what_either_has_is_read_listed_once_and_removed_everywhere(two: Two, own: str) -> None:
    two.ledger.says = UNDER_WAY
    both = [await put(two.old, content) for content in (b"in the old one", b"in both")]
    staged = await two.new.stage()
    await staged.write(b"in both")
    await staged.commit(both[1])
    new = await put(two.new, b"in the new one")
    storage = two.seen_from(own)
    assert await keys(storage) == sorted([*both, new])
    assert [await get(storage, key) for key in (*both, new)] == [b"in the old one", b"in both", b"in the new one"]
    for key in (*both, new):
        await storage.delete(key)
        with pytest.raises(ObjectMissing):
            await storage.open(key)
    assert [*await keys(two.old), *await keys(two.new)] == []
    assert two.opened == [NEW if own == OLD else OLD]


@pytest.mark.parametrize("own", [OLD, NEW])
async def test_all_that_is_put_is_put_into_the_own_store(two: Two, own: str) -> None:
    two.ledger.says = UNDER_WAY
    key = await put(two.seen_from(own), b"bytes")
    assert (await keys(two.old), await keys(two.new)) == (([key], []) if own == OLD else ([], [key]))
    assert two.ledger.asked == 1, "whose the store is, before the first"
    again = two.seen_from(own)
    await put(again, b"others")
    await put(again, b"bytes once more")
    assert two.ledger.asked == 2


async def test_without_a_move_nothing_is_elsewhere_and_a_move_is_seen_at_once(two: Two) -> None:
    storage, key = two.seen_from(OLD), await put(two.new, b"bytes")
    with pytest.raises(ObjectMissing):
        await storage.open(key)
    await storage.delete(key)
    assert two.opened == []
    two.ledger.says = UNDER_WAY
    assert await get(storage, key) == b"bytes"


async def test_a_move_under_way_is_not_asked_for_with_every_object(two: Two) -> None:
    two.ledger.says = UNDER_WAY
    storage = two.seen_from(OLD)
    made = [await put(two.new, content) for content in (b"one", b"two", b"three")]
    assert [await get(storage, key) for key in made] == [b"one", b"two", b"three"]
    assert two.ledger.asked == 1


async def test_what_is_copied_between_two_looks_is_found(two: Two) -> None:
    two.ledger.says = UNDER_WAY
    key = key_for(hashlib.sha256(b"bytes").hexdigest())

    class Emptied:
        """The old store, from which an object goes as soon as the new one has it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(two.old, name)

        async def open(self, *_: object) -> Any:
            staged = await two.new.stage()
            await staged.write(b"bytes")
            await staged.commit(key)
            raise ObjectMissing(key)

    async def opened(_: str) -> Any:
        return Emptied()

    elsewhere = Elsewhere(StoreStanding(cast("Any", two.ledger), two.new), NEW, opened)
    assert await get(MovingStorage(two.new, elsewhere), key) == b"bytes"


@pytest.mark.parametrize("shown", [b"another", None])
async def test_another_store_that_shows_no_sentinel_of_the_move_has_nothing_missing(
    two: Two, tmp_path: Path, shown: bytes | None
) -> None:
    two.ledger.says = UNDER_WAY
    two.old._notes.clear()
    if shown is not None:
        await two.old.write_note(NOTE, shown)
    storage = two.seen_from(NEW)
    with pytest.raises(StorageUnavailable, match="not there"):
        await storage.open(key_for("ab" * 32))
    await two.old.write_note(NOTE, SEAL.encode())
    with pytest.raises(ObjectMissing):
        await storage.open(key_for("ab" * 32))


async def test_a_database_that_does_not_answer_leaves_an_object_unknown_and_the_store_ready(two: Two) -> None:
    two.ledger.says = Unavailable("The database does not answer.")
    storage = two.seen_from(OLD)
    with pytest.raises(Unavailable):
        await storage.open(key_for("ab" * 32))
    await storage.check()
    two.ledger.is_slow = True
    await storage.check()


async def test_bytes_go_from_the_own_store_whether_or_not_the_other_one_answers(two: Two) -> None:
    key = await put(two.old, b"bytes")
    two.ledger.says = Unavailable("The database does not answer.")
    await two.seen_from(OLD).delete(key)
    assert await keys(two.old) == []


async def test_only_who_has_the_new_store_needs_the_old_one_to_be_ready(two: Two) -> None:
    two.ledger.says = UNDER_WAY

    async def broken() -> None:
        raise StorageUnavailable("The store does not answer.")

    cast("Any", two.old).check = cast("Any", two.new).check = broken
    for own, store in ((OLD, two.old), (NEW, two.new)):
        del cast("Any", store).check
        if own == OLD:
            await two.seen_from(own).check()
        else:
            cast("Any", two.old).check = broken
            with pytest.raises(StorageUnavailable):
                await two.seen_from(own).check()


async def test_a_store_that_is_the_databases_no_more_says_nothing_of_what_it_lacks(two: Two) -> None:
    storage = two.seen_from(OLD)
    await two.old.write_note(NOTE, SEAL.encode())
    two.ledger.says = Stores(2, OURS)
    for asked in (storage.open(key_for("ab" * 32)), storage.check()):
        with pytest.raises(StorageUnavailable, match="no longer"):
            await asked
