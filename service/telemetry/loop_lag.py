"""How late the event loop is: whatever blocks it, blocks every request of the worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from service.observability import outlets

INTERVAL_S: Final = 0.1


@contextmanager
def watching_loop(interval: float = INTERVAL_S) -> Iterator[None]:
    """Set a timer time and again until the end of the block, and record by how much the running loop missed it."""
    watch = _Watch(asyncio.get_running_loop(), interval)
    watch.wait()
    try:
        yield
    finally:
        watch.timer.cancel()


class _Watch:
    def __init__(self, loop: asyncio.AbstractEventLoop, interval: float) -> None:
        self._loop, self._interval = loop, interval

    def wait(self) -> None:
        due = self._loop.time() + self._interval
        self.timer = self._loop.call_at(due, self._wake, due)

    def _wake(self, due: float) -> None:
        outlets().loop_lag.record(max(self._loop.time() - due, 0.0))
        self.wait()
