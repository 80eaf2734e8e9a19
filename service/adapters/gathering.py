"""Questions answered together: all that are asked while an answer is on its way share the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from service.domain.errors import Unavailable

Q = TypeVar("Q")
A = TypeVar("A")


class Gathering(Generic[Q, A]):
    """Asks `answer` for a list of questions at a time, each at most `most` long; it returns as many answers, in order.

    Every question is answered from a call that began after it was asked. An exception goes to all who shared the call,
    `Unavailable` to all who wait for the next one, too: it would wait as long again. Who is cancelled leaves the others
    alone.
    """

    def __init__(self, answer: Callable[[Sequence[Q]], Awaitable[Sequence[A]]], most: int = 100) -> None:
        self._answer, self._most = answer, most
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._calls: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """The answer to one question; raises what `answer` raises."""
        waiter: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, waiter))
        if self._calls is None:
            self._calls = asyncio.create_task(self._call())
        return await waiter

    async def _call(self) -> None:
        try:
            while self._waiting:
                count = min(self._most, len(self._waiting))
                await self._answer_all([self._waiting.popleft() for _ in range(count)])
        finally:
            self._calls = None

    async def _answer_all(self, asked: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            answers = await self._answer([question for question, _ in asked])
        except BaseException as error:
            if isinstance(error, Unavailable):
                asked = [*asked, *self._waiting]
                self._waiting.clear()
            for _, waiter in asked:
                if not waiter.done():
                    waiter.set_exception(error) if isinstance(error, Exception) else waiter.cancel()
            if not isinstance(error, Exception):
                raise
            return
        for (_, waiter), answer in zip(asked, answers, strict=True):
            if not waiter.done():
                waiter.set_result(answer)
