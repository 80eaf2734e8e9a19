"""Parts fail under load: one retry of a client heals every failure, and no acknowledged byte is lost."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import pytest

from tests.parts.service import eventually
from tests.scale.crowd import Crowd
from tests.scale.ground import Ground

pytestmark = pytest.mark.timeout(900)  # ten processes start, on a busy machine, too
BEFORE, AFTER = 100, 200
"""Requests answered well before the trouble begins, and in its midst."""


@pytest.fixture
def crowd(ground: Ground) -> Iterator[Crowd]:
    """Clients of nginx; whatever a test took away stands again afterwards."""
    crowd = Crowd(ground.edge.url, ground.writer.token)
    yield crowd
    sys.stdout.write(
        f"\n{crowd.done} answers, {len(crowd.healed)} healed by a retry, slowest {crowd.slowest_s:.1f} s\n"
    )
    sys.stdout.writelines(f"  {sentence[:180]}\n" for sentence in crowd.healed[:5])
    for replica in ground.replicas:
        if replica.running is None or replica.running.process.poll() is not None:
            replica.start()


def test_a_killed_replica_is_made_up_for_by_one_retry(ground: Ground, crowd: Crowd) -> None:
    async def trouble() -> None:
        await crowd.has_done(BEFORE)
        await asyncio.to_thread(ground.replicas[1].kill)
        await crowd.has_done(AFTER)
        await asyncio.to_thread(ground.replicas[1].start)
        await crowd.has_done(BEFORE)

    crowd.through(trouble)
    assert crowd.failed == []
    assert crowd.lost() == []


def test_a_rolling_restart_loses_nothing(ground: Ground, crowd: Crowd) -> None:
    async def trouble() -> None:
        for replica in ground.replicas:
            await crowd.has_done(BEFORE)
            assert replica.running is not None
            assert await asyncio.to_thread(replica.running.stop) == 0
            await asyncio.to_thread(replica.start)

    crowd.through(trouble)
    assert crowd.failed == []
    assert [sentence for sentence in crowd.healed if sentence.startswith("GET")] == [], "nginx asks another one"
    assert crowd.lost() == []


def test_a_killed_volume_server_is_made_up_for_by_one_retry(ground: Ground, crowd: Crowd) -> None:
    victim = ground.cluster.volumes[0]

    async def trouble() -> None:
        await crowd.has_done(BEFORE)
        assert victim.stored() > 2**20, "its loss must be one"
        await asyncio.to_thread(victim.kill)
        await crowd.has_done(AFTER)

    try:
        crowd.through(trouble)
        assert crowd.failed == []
        assert crowd.lost() == [], "what two servers kept is there while one of them is gone"
    finally:
        victim.start()
        eventually(lambda: ground.cluster.known_volume_servers() == 3)
    assert crowd.lost() == []
