"""Which part of a call is slow: time is counted once, for the innermost part that spends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import perf_counter
from types import TracebackType
from typing import Generic, TypeVar

from service.observability.record import Observation, current

T = TypeVar("T")


class timed:  # noqa: N801 - reads as a verb at its place: `with timed("hash"):`
    """Count the time of a block as `part` of the current call, less what inner blocks and calls count themselves.

    For parsers, hashing, streams and statements; a use case's body needs none. Around awaits, never across a `yield`.
    """

    __slots__ = ("_inner", "_observation", "_part", "_started")

    def __init__(self, part: str, observation: Observation | None = None) -> None:
        self._part = part
        self._observation = observation or current()

    def __enter__(self) -> None:
        self._inner = self._observation.parts_total() if self._observation else 0.0
        self._started = perf_counter()

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self._observation is not None:
            inner = self._observation.parts_total() - self._inner
            self._observation.add(self._part, perf_counter() - self._started - inner)


class timed_stream(Generic[T]):  # noqa: N801 - the same verb for streams
    """The items of `stream`; waiting for each counts as `part` of the call that asks for it."""

    def __init__(self, part: str, stream: AsyncIterator[T]) -> None:
        self._part = part
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        with timed(self._part):
            return await anext(self._stream)
