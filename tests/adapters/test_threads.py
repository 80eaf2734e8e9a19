"""Blocking calls and cancellation."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest

from service.adapters.threads import in_thread

pytestmark = pytest.mark.anyio


async def test_the_result_comes_back() -> None:
    assert await in_thread(lambda: 42) == 42


async def test_an_error_comes_back() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0)


async def test_a_cancelled_caller_waits_for_the_end_of_the_call() -> None:
    steps: list[object] = []
    started, finish = threading.Event(), threading.Event()

    def call() -> str:
        started.set()
        finish.wait(10)
        steps.append("called")
        return "result"

    task = asyncio.create_task(in_thread(call, undo=steps.append))
    await anyio.to_thread.run_sync(started.wait)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    finish.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["called", "result"]


async def test_a_cancelled_call_that_fails_undoes_nothing() -> None:
    undone: list[object] = []
    started, finish = threading.Event(), threading.Event()

    def call() -> None:
        started.set()
        finish.wait(10)
        raise OSError

    task = asyncio.create_task(in_thread(call, undo=undone.append))
    await anyio.to_thread.run_sync(started.wait)
    task.cancel()
    await asyncio.sleep(0)
    finish.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone == []
