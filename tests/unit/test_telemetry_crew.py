"""Workers that know each other, and the loop that is watched."""

from __future__ import annotations

import secrets
import time
from contextlib import ExitStack

import anyio
import pytest

from service.telemetry.crew import joined
from service.telemetry.loop_lag import watching_loop
from tests.telemetry_recorder import recording

pytestmark = pytest.mark.anyio


@pytest.fixture
def service() -> str:
    """A name that no other service has."""
    return secrets.token_hex(8)


def test_each_worker_has_a_number_and_hears_all_others(service: str) -> None:
    with ExitStack() as stack:
        crews = [stack.enter_context(joined(service, 3)) for _ in range(3)]
        for crew in crews:
            crew.tell(lambda number=crew.number: f"I am {number}".encode() * 10_000)  # type: ignore[misc]
        assert [crew.number for crew in crews] == [0, 1, 2]
        assert crews[1].ask() == [b"I am 0" * 10_000, b"I am 2" * 10_000]


def test_a_place_that_is_left_is_the_next_ones(service: str) -> None:
    with joined(service, 2) as first:
        with joined(service, 2) as second:
            assert second.number == 1
            second.tell(lambda: b"here")
            assert first.ask() == [b"here"]
        assert first.ask() == []
        with joined(service, 2) as third:
            assert third.number == 1


def test_services_do_not_hear_each_other(service: str) -> None:
    with joined(service, 2) as ours, joined(f"{service}-other", 2) as theirs:
        theirs.tell(lambda: b"not yours")
        assert (ours.number, theirs.number, ours.ask()) == (0, 0, [])


def test_whoever_says_nothing_is_left_out_in_time(service: str) -> None:
    with joined(service, 3) as asking, joined(service, 3), joined(service, 3) as other:
        other.tell(lambda: b"here")
        began = time.monotonic()
        assert asking.ask() == [b"here"]
        assert 0.9 < time.monotonic() - began < 10


def test_one_worker_needs_no_socket(service: str) -> None:
    with joined(service, 1) as alone, joined(service, 1) as another:
        assert (alone.number, another.number, alone.listener, alone.ask()) == (0, 0, None, [])


async def test_what_blocks_the_loop_is_measured() -> None:
    with recording() as recorder:
        with watching_loop(0.01):
            await anyio.sleep(0.05)
            time.sleep(0.3)  # noqa: ASYNC251 - as a defect would
            await anyio.sleep(0.05)
        [point] = recorder.points("asyncio.eventloop.lag")
        await anyio.sleep(0.05)
        [later] = recorder.points("asyncio.eventloop.lag")
    assert point.count >= 3
    assert 0.25 < point.max < 5
    assert later.count == point.count
