"""Questions that share an answer: who asks gets their own, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from service.adapters.gathering import Gathering
from service.domain.errors import Unavailable

pytestmark = pytest.mark.anyio


class Desk:
    """Answers with the square, when it is let; keeps what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may_answer = asyncio.Event()
        self.failure: BaseException | None = None

    async def answer(self, questions: Sequence[int]) -> list[int]:
        self.calls.append([*questions])
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        return [question**2 for question in questions]


async def asked(gathering: Gathering[int, int], *questions: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(gathering.ask(question)) for question in questions]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_everyone_gets_the_answer_to_their_own_question() -> None:
    desk = Desk()
    gathering = Gathering(desk.answer)
    first = await asked(gathering, 1)
    others = await asked(gathering, *range(2, 9))
    desk.may_answer.set()
    assert await asyncio.gather(*first, *others) == [number**2 for number in range(1, 9)]
    assert desk.calls == [[1], [*range(2, 9)]]


async def test_a_question_is_never_answered_by_a_call_that_began_before_it() -> None:
    desk = Desk()
    gathering = Gathering(desk.answer)
    tasks = [*await asked(gathering, 3), *await asked(gathering, 3)]
    desk.may_answer.set()
    await asyncio.gather(*tasks)
    assert desk.calls == [[3], [3]]


async def test_calls_are_bounded() -> None:
    desk = Desk()
    gathering = Gathering(desk.answer, most=3)
    desk.may_answer.set()
    tasks = await asked(gathering, *range(8))
    assert await asyncio.gather(*tasks) == [number**2 for number in range(8)]
    assert max(map(len, desk.calls)) == 3


@pytest.mark.parametrize(("failure", "calls"), [(LookupError("row"), 2), (Unavailable(), 1)])
async def test_a_failure_is_told_to_those_who_shared_the_call_and_an_absent_database_to_all(
    failure: Exception, calls: int
) -> None:
    desk = Desk()
    gathering = Gathering(desk.answer)
    desk.failure = failure
    first = await asked(gathering, 1)
    shared = await asked(gathering, 2, 3)
    desk.may_answer.set()
    ended = await asyncio.gather(*first, *shared, return_exceptions=True)
    assert ([type(each) for each in ended], len(desk.calls)) == ([type(failure)] * 3, calls)
    desk.failure = None
    assert await gathering.ask(5) == 25


async def test_who_leaves_takes_nobody_along() -> None:
    desk = Desk()
    gathering = Gathering(desk.answer)
    leaving, staying = await asked(gathering, 1, 2)
    leaving.cancel()
    desk.may_answer.set()
    assert await staying == 4
    assert leaving.cancelled()
    assert await gathering.ask(6) == 36


async def test_an_end_of_the_call_itself_leaves_nobody_waiting() -> None:
    desk = Desk()
    gathering = Gathering(desk.answer)
    desk.failure = asyncio.CancelledError()
    tasks = await asked(gathering, 1, 2)
    desk.may_answer.set()
    await asyncio.wait(tasks, timeout=5)
    assert all(task.cancelled() for task in tasks)
    desk.failure = None
    assert await gathering.ask(7) == 49
