"""How workers learn that the main process is leaving or gone: a pipe whose write end it alone holds.

The end of the pipe means drain. If the main process is gone as well, nobody will stop the worker, so it stops itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from service.drain import Drain

_ORPHAN_CHECK_S = 0.1
_ORPHAN_GRACE_S = 2


class Lifeline:
    """Made by the main process before it forks; `cut` there, `watch` in each worker."""

    def __init__(self) -> None:
        self._main = os.getpid()
        self._read_end, self._write_end = os.pipe()

    def cut(self) -> None:
        """Tell all workers to drain. Idempotent."""
        if self._write_end != -1:
            os.close(self._write_end)
            self._write_end = -1

    def watch(self, loop: asyncio.AbstractEventLoop, drain: Drain) -> None:
        """In a worker: begin `drain` when the pipe ends, and leave when the main process has ended too."""
        self.cut()
        loop.add_reader(self._read_end, self._ended, loop, drain)

    def _ended(self, loop: asyncio.AbstractEventLoop, drain: Drain) -> None:
        loop.remove_reader(self._read_end)
        drain.begin()
        self._leave_if_orphaned(loop)

    def _leave_if_orphaned(self, loop: asyncio.AbstractEventLoop) -> None:
        # A process that ends closes its pipes before its children lose it: the parent may change a moment later.
        if os.getppid() == self._main:
            loop.call_later(_ORPHAN_CHECK_S, self._leave_if_orphaned, loop)
        else:
            signal.alarm(_ORPHAN_GRACE_S)  # The default action ends the process, whatever still runs in it.
            os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def giving_up_at(drain: Drain) -> Iterator[None]:
    """In a worker that is starting: a drain that begins meanwhile ends its process, which nothing depends on yet."""
    leaving = asyncio.create_task(_leave_at(drain))
    try:
        yield
    finally:
        leaving.cancel()


async def _leave_at(drain: Drain) -> None:
    await drain.wait()
    os._exit(0)
