"""Replicas die, come back, or break off: visitors of a cache see nothing of it, or an end that is plainly no whole."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.parts.blobs import MIB, noise
from tests.parts.edges import RUNNING, Edge
from tests.parts.origin import Item, Origin
from tests.parts.relay import RELAYED, Fate, Relay, running_relay
from tests.parts.service import eventually

VISITORS, PAUSE_S = 10, 0.02
CUT = 400_000
KNOWN_AGAIN_S = 2.5
"""A replica that is back is asked again within this time, by both configurations."""


@pytest.fixture
def standing(origin: Origin) -> Iterator[Origin]:
    """The replicas, all of which stand again afterwards."""
    yield origin
    for replica in origin.replicas:
        if replica.running is None or replica.running.process.poll() is not None:
            replica.start()


@dataclass
class Crowd:
    """Visitors who ask for warm and for cold bytes until they are told to leave."""

    edge: Edge
    warm: list[Item]
    cold: list[Item]
    leave: bool = False
    served: int = 0
    failures: dict[str, list[str]] = field(default_factory=lambda: {"warm": [], "cold": []})

    def has_served(self, count: int) -> bool:
        """Whether so many answers were whole."""
        return self.served >= count

    async def visit(self) -> None:
        """All of them at once."""
        limits = httpx.Limits(max_connections=VISITORS)
        async with httpx.AsyncClient(base_url=self.edge.url, limits=limits, timeout=30) as http:
            await asyncio.gather(*(self._stroll(http, random.Random(number)) for number in range(VISITORS)))

    async def _stroll(self, http: httpx.AsyncClient, rng: random.Random) -> None:
        while not self.leave:
            await asyncio.sleep(PAUSE_S)  # a crowd, not a flood: replicas must have the strength to come back
            kind = "cold" if self.cold and rng.random() < 0.1 else "warm"
            item = self.cold.pop() if kind == "cold" else rng.choice(self.warm)
            try:
                answer = await http.get(rng.choice([item.blob, item.file]))
            except httpx.TransportError as error:
                self.failures[kind].append(repr(error))
                continue
            if answer.status_code != 200:
                self.failures[kind].append(f"{answer.status_code} {answer.text[:300]}")
                continue
            assert answer.content == item.content, "a part was passed off as the whole"
            self.served += 1


def test_replicas_killed_and_restarted_under_load_fail_nobody_who_asks_for_what_is_warm(
    standing: Origin, edge: Edge, visitor: httpx.Client
) -> None:
    warm = [standing.publish(noise(64 * 1024, seed=edge.port + number)) for number in range(20)]
    cold = [standing.publish(noise(64 * 1024, seed=edge.port + number)) for number in range(1000, 1300)]
    for item in warm:
        assert visitor.get(item.blob).content == visitor.get(item.file).content == item.content
    crowd = Crowd(edge, warm, cold)

    async def run() -> None:
        visits = asyncio.create_task(crowd.visit())
        try:
            for replica in standing.replicas:
                before = crowd.served
                await asyncio.to_thread(replica.kill)
                await asyncio.to_thread(eventually, partial(crowd.has_served, before + 100))
                await asyncio.to_thread(replica.start)
                await asyncio.sleep(KNOWN_AGAIN_S)
        finally:
            crowd.leave = True
            await visits

    asyncio.run(run())
    assert crowd.failures["warm"] == []
    # A cold answer that was on its way from a replica that was killed ends with it; there are two kills.
    assert len(crowd.failures["cold"]) <= 2 * VISITORS, crowd.failures["cold"]


def test_without_any_replica_what_is_public_and_warm_goes_on(
    standing: Origin, edge: Edge, visitor: httpx.Client
) -> None:
    seed = edge.port + time.monotonic_ns()
    item, unknown = standing.publish(noise(5000, seed)), standing.publish(noise(5000, seed + 1))
    private = standing.publish(noise(5000, seed + 2), visibility="private")
    signed = standing.sign(private)
    assert [visitor.get(path).status_code for path in (item.blob, item.file, signed)] == [200, 200, 200]
    for replica in standing.replicas:
        replica.kill()
    answer = visitor.get(unknown.blob)
    assert (answer.status_code, answer.headers["cache-control"], answer.headers["retry-after"]) == (
        503,
        "no-store",
        "1",
    )
    assert answer.json()["code"] == "unavailable"
    if edge.name == "nginx":  # whose ten seconds are short enough to wait for
        eventually(lambda: "stale" in visitor.get(item.blob).headers["cache-status"], 15)
        eventually(lambda: visitor.get(signed).status_code == 503, 15)  # its ten seconds began a moment later
    assert visitor.get(item.blob).content == item.content
    assert visitor.get(item.file, headers={"range": "bytes=1-1"}).content == item.content[1:2]
    assert visitor.get(item.blob, headers={"authorization": f"Bearer {standing.writer.token}"}).status_code == 503


def cut_once(relay: Relay, item: Item, after_slice: str) -> None:
    """The first answer with these bytes breaks off; of slices, that whose Range begins so."""
    left = [Fate(body_bytes=CUT)]

    def decide(head: bytes) -> Fate:
        wanted = item.sha256.encode() in head and (b"range:" not in head.lower() or after_slice.encode() in head)
        return left.pop() if wanted and left else RELAYED

    relay.decide = decide


@pytest.mark.parametrize("broken", ["bytes=0-", f"bytes={MIB}-"], ids=["the first slice", "the second slice"])
def test_an_answer_that_breaks_off_is_never_passed_off_as_whole_nor_kept(
    origin: Origin, tmp_path_factory: pytest.TempPathFactory, broken: str
) -> None:
    for name in RUNNING:
        folder = tmp_path_factory.mktemp(name)
        item = origin.publish(noise(2 * MIB + 1, seed=origin.ports[0] + time.monotonic_ns()))
        asyncio.run(break_off(name, folder, origin, item, broken))


async def is_served(http: httpx.AsyncClient, item: Item) -> bool:
    """Whether an answer calls itself whole; one that breaks off before it began can still be a 503."""
    try:
        return (await http.get(item.blob)).status_code == 200
    except httpx.RemoteProtocolError:
        return False


async def break_off(name: str, folder: Path, origin: Origin, item: Item, broken: str) -> None:
    async with running_relay(("127.0.0.1", origin.ports[0])) as relay:
        running = RUNNING[name](folder, [relay.port, relay.port])
        edge = await asyncio.to_thread(running.__enter__)
        try:
            cut_once(relay, item, broken)
            async with httpx.AsyncClient(base_url=edge.url, timeout=30) as http:
                assert not await is_served(http, item)
                for _ in range(2):
                    assert (await http.get(item.blob)).content == item.content
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)
