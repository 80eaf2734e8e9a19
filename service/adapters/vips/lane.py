"""Child processes that carry out tasks on hostile bytes, and may die of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import anyio
import msgspec
from anyio.abc import Process, UNIXSocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from service.adapters.vips.task import MAX_LINE, READY, Start, Task
from service.domain.blob import MediaInfo
from service.domain.errors import ProbeUnavailable
from service.observability import RenderingState

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many children at once, and what one task may take.

    `memory_bytes` is address space: 100 megapixels of AVIF take 1.6 GB of it, 200 of progressive JPEG 1.3 GB.
    `wall_seconds` is long beside `cpu_seconds`, so that a busy machine does not make good bytes look bad. A child makes
    room for a fresh one after `tasks_per_child`: what a library leaks never adds up. `waiting` is how many tasks may
    wait for a child, None for any number; a child may write `file_bytes` into what it is handed, and yields to others
    by its `niceness`.
    """

    children: int = 2
    cpu_seconds: int = 20
    wall_seconds: float = 40
    start_seconds: float = 20
    memory_bytes: int = 2 << 30
    tasks_per_child: int = 500
    waiting: int | None = None
    file_bytes: int = 0
    niceness: int = 0


class LaneFull(Exception):
    """As many tasks wait as may wait."""


class ChildLost(Exception):
    """The child died, ran out of time or memory, or said something else than an answer."""


class OutOfTime(ChildLost):
    """The task took more time than it may."""


@dataclass(slots=True, eq=False)
class _Child:
    process: Process
    channel: UNIXSocketStream
    lines: BufferedByteReceiveStream
    tasks: int = field(default=0)


class Lane:
    """Runs tasks in persistent children, each in one child at a time; children never outlive this process.

    `preload` is the module that a child loads before it is ready. Those of a `sealed` lane open no file, no socket and
    no process from then on: what they need is handed to them.
    """

    def __init__(
        self, bounds: Bounds | None = None, preload: str = "service.adapters.vips.decode", *, sealed: bool = False
    ) -> None:
        self._bounds, self._preload, self._sealed = bounds or Bounds(), preload, sealed
        self._limiter = anyio.CapacityLimiter(self._bounds.children)
        self._idle: list[_Child] = []

    async def warm(self) -> None:
        """Have one idle child. Raises `ProbeUnavailable`."""
        async with self._limiter:
            if not self._idle:
                self._idle.append(await self._start())

    async def run(self, function: str, path: Path, media_type: str) -> MediaInfo:
        """Carry out `function` (`module:name`) on a local file.

        Raises `ChildLost` when the task took its child with it, `ProbeUnavailable` when no child can be started.
        A cancellation kills the child at once. Bytes may hurt a child so that it dies of later ones: a reused child
        that dies proves nothing, and the task goes to a fresh one.
        """
        return await self.carry_out(Task(function, media_type, str(path)), MediaInfo)

    async def carry_out(self, task: Task, answer: type[A], files: Sequence[int] = (), *, patient: bool = False) -> A:
        """Carry out a task on open files, which stay the caller's; see `run`.

        Raises `LaneFull`, at once, when as many tasks wait as may; not to who is `patient`.
        """
        waiting = self._limiter.statistics().tasks_waiting
        if not patient and self._bounds.waiting is not None and waiting >= self._bounds.waiting:
            raise LaneFull
        async with self._limiter:
            if self._idle:
                try:
                    return await self._attempt(self._idle.pop(), task, answer, files)
                except OutOfTime:
                    raise
                except ChildLost:
                    pass
            return await self._attempt(await self._start(), task, answer, files)

    def state(self) -> RenderingState:
        """How many tasks are carried out, and how many wait."""
        now = self._limiter.statistics()
        return RenderingState(now.borrowed_tokens, now.tasks_waiting)

    async def aclose(self) -> None:
        """End the idle children. Idempotent."""
        while self._idle:
            await _end(self._idle.pop())

    async def _attempt(self, child: _Child, task: Task, answer: type[A], files: Sequence[int]) -> A:
        try:
            with anyio.fail_after(self._bounds.wall_seconds):
                await _hand_over(child, msgspec.json.encode(task) + b"\n", files)
                line = await child.lines.receive_until(b"\n", MAX_LINE)
            found = msgspec.json.decode(line, type=answer)
        except TimeoutError as error:
            await _end(child)
            raise OutOfTime from error
        except (*_LOST, msgspec.DecodeError) as error:
            await _end(child)
            raise (OutOfTime if child.process.returncode == -signal.SIGXCPU else ChildLost) from error
        except BaseException:
            await _end(child)
            raise
        await self._give_back(child)
        return found

    async def _give_back(self, child: _Child) -> None:
        child.tasks += 1
        if child.tasks < self._bounds.tasks_per_child:
            self._idle.append(child)
        else:
            await _end(child)

    async def _start(self) -> _Child:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await anyio.open_process(
                    self._command(),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=_environment(),
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            raise ProbeUnavailable("The process that looks at media cannot be started.") from error
        except BaseException:
            ours.close()
            raise
        return await self._ready(process, ours)

    async def _ready(self, process: Process, ours: socket.socket) -> _Child:
        channel = await UNIXSocketStream.from_socket(ours)
        child = _Child(process, channel, BufferedByteReceiveStream(channel))
        try:
            with anyio.fail_after(self._bounds.start_seconds):
                await child.lines.receive_until(READY + b"\n", MAX_LINE)
        except (*_LOST, TimeoutError) as error:
            await _end(child)
            raise ProbeUnavailable("The process that looks at media does not start.") from error
        except BaseException:
            await _end(child)
            raise
        return child

    def _command(self) -> list[str]:
        bounds = self._bounds
        start = Start(
            os.getpid(),
            bounds.memory_bytes,
            bounds.cpu_seconds,
            self._preload,
            bounds.file_bytes,
            bounds.niceness,
            self._sealed,
        )
        return [sys.executable, "-P", "-m", "service.adapters.vips.child", msgspec.json.encode(start).decode()]


_LOST = (
    anyio.EndOfStream,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.IncompleteRead,
    anyio.DelimiterNotFound,
)


def _environment() -> dict[str, str]:
    """Where modules are, and no more: the parent's own variables hold credentials."""
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    libvips = {"VIPS_CONCURRENCY": "1", "VIPS_DISC_THRESHOLD": "1000g"}  # no temporary files: none can be written
    return {"PYTHONPATH": path, "MALLOC_ARENA_MAX": "2", "LC_ALL": "C.UTF-8", **libvips}


async def _hand_over(child: _Child, line: bytes, files: Sequence[int]) -> None:
    if files:
        await child.channel.send_fds(line, files)
    else:
        await child.channel.send(line)


async def _end(child: _Child) -> None:
    with anyio.CancelScope(shield=True):
        with suppress(ProcessLookupError):
            child.process.kill()
        await child.channel.aclose()
        await child.process.aclose()
