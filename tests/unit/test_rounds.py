"""Background rounds: at once again while there is more, ever later after failures, never after a drain began."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.drain import Drain
from service.rounds import in_rounds, pause_after

pytestmark = pytest.mark.anyio

LONG = timedelta(hours=1)


class Turns:
    """Counts its turns, answers as told, and says when there were enough."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers, self.count, self.enough = list(answers), 0, asyncio.Event()

    async def __call__(self) -> bool:
        answer = self.answers[self.count]
        self.count += 1
        if self.count == len(self.answers):
            self.enough.set()
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_the_first_round_comes_at_once_and_more_work_without_a_pause() -> None:
    turns = Turns(True, True, True, False)
    async with asyncio.timeout(10), in_rounds(turns, LONG, Drain()):
        await turns.enough.wait()
    assert turns.count == 4


async def test_a_round_that_fails_does_not_end_the_rounds() -> None:
    turns = Turns(RuntimeError("broken"), OSError("gone"), False)
    async with asyncio.timeout(10), in_rounds(turns, timedelta(milliseconds=1), Drain()):
        await turns.enough.wait()
    assert turns.count == 3


async def test_a_drain_stops_a_round_under_way() -> None:
    drain, started, stopped = Drain(), asyncio.Event(), asyncio.Event()

    async def turn() -> bool:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return True

    async with asyncio.timeout(10), in_rounds(turn, LONG, drain):
        await started.wait()
        drain.begin()
        await stopped.wait()


@given(st.integers(0, 10_000), st.floats(0.001, 3600), st.floats(0, 1))
def test_a_pause_is_half_to_one_and_a_half_of_the_interval_and_grows_to_sixteen(
    failures: int, interval: float, luck: float
) -> None:
    pause = pause_after(failures, interval, luck)
    growth = min(2 ** min(failures, 4), 16)
    assert 0.499 * growth * interval <= pause <= 1.501 * growth * interval


async def test_leaving_without_a_drain_stops_it_too() -> None:
    turns = Turns(False)
    async with asyncio.timeout(10):
        async with in_rounds(turns, LONG, Drain()):
            await turns.enough.wait()
    assert turns.count == 1
