"""Keys that are remembered for a moment: fewer look-ups, and a revoked one is dead within 5 s all the same."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from service.adapters import remembered
from service.adapters.memory.access import MemoryKeys
from service.adapters.memory.database import MemoryDatabase
from service.adapters.remembered import REMEMBER_SECONDS, RememberedKeys
from service.ports.access import ApiKey, Scope

pytestmark = pytest.mark.anyio


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which keys are remembered."""
    made = Clock()
    monkeypatch.setattr(remembered, "monotonic", made)
    return made


@pytest.fixture
def store() -> MemoryKeys:
    """Where the keys are."""
    return MemoryKeys(MemoryDatabase())


def key(key_id: str) -> ApiKey:
    """A key with this id."""
    return ApiKey(key_id, b"h" * 32, "a name", frozenset({Scope.READ}), None)


async def test_a_key_revoked_elsewhere_is_dead_as_soon_as_it_is_forgotten(store: MemoryKeys, clock: Clock) -> None:
    keys = RememberedKeys(store)
    await keys.add(key("a"))
    assert await keys.find("a") == await store.find("a")
    revoked = await store.revoke("a")
    clock.now += REMEMBER_SECONDS - 0.001
    assert (await keys.find("a") or revoked).revoked_at is None
    clock.now += 0.001
    assert await keys.find("a") == revoked
    assert REMEMBER_SECONDS < 5


async def test_a_key_revoked_here_is_dead_at_once(store: MemoryKeys, clock: Clock) -> None:
    keys = RememberedKeys(store)
    await keys.add(key("a"))
    await keys.find("a")
    revoked = await keys.revoke("a")
    assert await keys.find("a") == revoked
    assert await keys.all() == [revoked]


async def test_a_key_that_does_not_exist_is_never_remembered(store: MemoryKeys, clock: Clock) -> None:
    keys = RememberedKeys(store)
    assert await keys.find("a") is None
    await store.add(key("a"))
    assert await keys.find("a") is not None


async def test_the_key_that_was_found_longest_ago_is_forgotten_first(
    store: MemoryKeys, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "_MOST_KEYS", 2)
    keys = RememberedKeys(store)
    for key_id in "abc":
        await keys.add(key(key_id))
        await keys.find(key_id)
        await store.revoke(key_id)
    assert [(await keys.find(key_id)) == await store.find(key_id) for key_id in "cba"] == [False, False, True]


@dataclass(frozen=True)
class Slow(MemoryKeys):
    """Finds a key once it is let, and notes every question."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)

    async def find(self, key_id: str) -> ApiKey | None:
        self.asked.append(key_id)
        await self.open.wait()
        return self.database.keys.get(key_id)


async def test_requests_that_come_together_ask_for_their_key_once() -> None:
    store = Slow(MemoryDatabase())
    keys = RememberedKeys(store)
    await keys.add(key("a"))
    together = [asyncio.create_task(keys.find("a")) for _ in range(100)]
    for _ in range(5):
        await asyncio.sleep(0)
    together[0].cancel()
    store.open.set()
    found = await asyncio.gather(*together[1:])
    assert {each.id for each in found if each is not None} == {"a"}
    assert store.asked == ["a"]


async def test_a_key_that_was_not_there_is_found_once_it_is(store: MemoryKeys) -> None:
    keys = RememberedKeys(store)
    assert await keys.find("a") is None
    await keys.add(key("a"))
    assert await keys.find("a") == await store.find("a")
