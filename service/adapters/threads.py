"""Blocking calls in worker threads, so that a cancelled caller never leaves one running behind its back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from anyio import CancelScope, to_thread

T = TypeVar("T")


async def in_thread(call: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
    """Run `call` in a worker thread and wait for its end, even when cancelled meanwhile.

    Otherwise a cancelled upload would close a file that a thread still writes to. After a cancellation `undo` gets the
    result that nobody will receive, and the cancellation goes on.
    """
    task = asyncio.ensure_future(to_thread.run_sync(call))
    cancelled: asyncio.CancelledError | None = None
    with CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is None:
        return task.result()
    if task.exception() is None and undo is not None:
        undo(task.result())
    raise cancelled
