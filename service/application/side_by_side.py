"""Work on many things at once, a few at a time, however many there are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from service.domain.errors import RefkeepError

T = TypeVar("T")


async def side_by_side(things: AsyncIterator[T], jobs: int, work: Callable[[T], Awaitable[None]]) -> None:
    """Do `work` for each, `jobs` at the same time; no more of `things` are asked for than are worked on.

    The first `RefkeepError`, of `things` or of `work`, stops all and is raised by itself.
    """
    faults: list[RefkeepError] = []
    send, receive = anyio.create_memory_object_stream[T](0)

    async def one(scope: anyio.CancelScope, share: MemoryObjectReceiveStream[T]) -> None:
        async with share:
            async for thing in share:
                try:
                    await work(thing)
                except RefkeepError as error:
                    faults.append(error)
                    scope.cancel()

    async with anyio.create_task_group() as group:
        async with receive:
            for _ in range(jobs):
                group.start_soon(one, group.cancel_scope, receive.clone())
        async with send:
            try:
                async for thing in things:
                    await send.send(thing)
            except RefkeepError as error:
                faults.append(error)
                group.cancel_scope.cancel()
    if faults:
        raise faults[0]
