"""Every step of a request towards disk, database and caller, numbered in the order taken; any one can be made to fail.

`install` replaces the calls of this process: it is for a process of its own.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

_BY_PATH = ("open", "mkdir", "rename", "replace", "link", "symlink", "truncate", "unlink", "rmdir")
_BY_DESCRIPTOR = ("write", "pwrite", "fsync", "fdatasync", "ftruncate", "close")
_STATEMENTS = ("execute", "fetch", "fetchrow", "fetchval")
_BY_THE_CLOCK = ("FROM api_keys", "SELECT s.store_epoch")
"""How often a key is looked up, or a move of the store looked for, is a matter of seconds, not of steps: what is
remembered for so long is only read."""
_recorded_in: ContextVar[Path | None] = ContextVar("recorded_in", default=None)
"""Where the course of the request goes whose context this is. What the service does beside requests has none."""


class Kind(StrEnum):
    """What goes wrong at a step; one that does not apply to it does nothing."""

    NOTHING = "nothing"
    KILL = "kill"
    """The process group dies before the step."""
    KILL_MIDWAY = "kill-midway"
    """It dies with half of a write written, or with a statement sent and not answered."""
    EIO = "eio"
    ENOSPC = "enospc"
    """Half of a write is written, as on a disk that fills up; any other call does nothing."""
    BROKEN = "broken"
    """From this step on every call on the disk fails with EIO."""
    CUT = "cut"
    """The connection to the database ends before the statement."""
    ANSWER_LOST = "answer-lost"
    """The statement is carried out, then the connection ends."""
    BACKEND_KILLED = "backend-killed"
    """SIGKILL to the database's own process before the statement."""
    BACKEND_KILLED_AFTER = "backend-killed-after"
    """SIGKILL to it once the statement is carried out, before the answer arrives."""


_ERRNO = {Kind.EIO: errno.EIO, Kind.BROKEN: errno.EIO, Kind.ENOSPC: errno.ENOSPC}


@dataclass(frozen=True)
class Fault:
    """`kind` at step number `at`, from 1."""

    kind: Kind = Kind.NOTHING
    at: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.at}"

    @classmethod
    def parse(cls, text: str) -> Fault:
        """From `str(fault)`."""
        kind, at = text.split()
        return cls(Kind(kind), int(at))


class Course(msgspec.Struct, frozen=True):
    """The steps that a request took, and whether the last of them was its death."""

    steps: list[str]
    died: bool = False


class Steps:
    """Counts the steps of one request at a time; the disk's are those below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._taken: list[str] = []
        self._fault: Fault | None = None
        self._record: Path | None = None
        self._open_files: dict[int, str] = {}

    @contextmanager
    def counted(self, fault: Fault, record: Path) -> Iterator[None]:
        """Count from 1 meanwhile, let `fault` happen, and leave the `Course` in `record`, also at death."""
        self._fault, self._record, self._taken, self._open_files = fault, record, [], {}
        _recorded_in.set(record)
        try:
            yield
        finally:
            self._write(died=False)
            self._fault = None

    def take(self, name: str) -> Kind:
        """Count a step that is about to be taken; what is to go wrong with it."""
        if (fault := self._fault_of_request()) is None:
            return Kind.NOTHING
        self._taken.append(name)
        kind, now = fault.kind, len(self._taken)
        if now != fault.at and not (kind is Kind.BROKEN and now > fault.at):
            return Kind.NOTHING
        if kind is Kind.KILL:
            self.die()
        return kind

    def die(self) -> None:
        """End the process and those that belong to it, as the kernel does when memory runs out."""
        self._write(died=True)
        os.killpg(0, signal.SIGKILL)

    def install(self) -> None:
        """Put a counter around the calls."""
        for name in _BY_PATH:
            setattr(os, name, self._by_path(name, getattr(os, name)))
        for name in _BY_DESCRIPTOR:
            setattr(os, name, self._by_descriptor(name, getattr(os, name)))
        for name in _STATEMENTS:
            setattr(asyncpg.Connection, name, self._statement(getattr(asyncpg.Connection, name)))

    def _fault_of_request(self) -> Fault | None:
        """What the request that is counted suffers, where it does this itself or in a task or thread that it began."""
        return self._fault if _recorded_in.get() == self._record else None

    def _write(self, *, died: bool) -> None:
        if self._record is not None:
            unfinished = self._record.with_suffix(".part")
            unfinished.write_bytes(msgspec.json.encode(Course(self._taken, died)))
            unfinished.rename(self._record)

    def _name_of(self, path: object) -> str | None:
        """A path below the folder by its shape: `objects/*/*`; None for any other."""
        if not isinstance(path, str | Path) or not str(path).startswith(f"{self._folder}/"):
            return None
        top, *below = Path(path).relative_to(self._folder).parts
        return "/".join([top, *("*" for _ in below)])

    def _by_path(self, call: str, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def counted(path: object, *arguments: Any, **options: Any) -> Any:
            name = None if self._fault_of_request() is None else self._name_of(path)
            if name is None:
                return real(path, *arguments, **options)
            if (code := _ERRNO.get(self.take(f"{call} {name}"))) is not None:
                raise OSError(code, os.strerror(code))
            result = real(path, *arguments, **options)
            if call == "open":
                self._open_files[result] = name
            return result

        return counted

    def _by_descriptor(self, call: str, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def counted(descriptor: int, *arguments: Any) -> Any:
            name = self._open_files.get(descriptor)
            if name is None or self._fault_of_request() is None:
                return real(descriptor, *arguments)
            kind = self.take(f"{call} {name}")
            if call == "close":
                del self._open_files[descriptor]
                real(descriptor)
            elif call == "write" and kind in {Kind.KILL_MIDWAY, Kind.ENOSPC}:
                real(descriptor, arguments[0][: len(arguments[0]) // 2])
                if kind is Kind.KILL_MIDWAY:
                    self.die()
            if (code := _ERRNO.get(kind)) is not None:
                raise OSError(code, os.strerror(code))
            return None if call == "close" else real(descriptor, *arguments)

        return counted

    def _statement(self, real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(real)
        async def counted(
            connection: asyncpg.Connection[asyncpg.Record], query: str, *arguments: Any, **options: Any
        ) -> Any:
            uncounted = any(part in query for part in _BY_THE_CLOCK)
            kind = Kind.NOTHING if uncounted else self.take(_name_of_statement(query))
            if kind is Kind.CUT:
                connection.terminate()
            if kind is Kind.BACKEND_KILLED:
                os.kill(connection.get_server_pid(), signal.SIGKILL)
            running = asyncio.ensure_future(real(connection, query, *arguments, **options))
            if kind is Kind.KILL_MIDWAY:
                await asyncio.wait({running}, timeout=0)
                self.die()
            result = await running
            if kind is Kind.BACKEND_KILLED_AFTER:
                os.kill(connection.get_server_pid(), signal.SIGKILL)
            if kind in {Kind.ANSWER_LOST, Kind.BACKEND_KILLED_AFTER}:
                connection.terminate()
                raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
            return result

        return counted


def _name_of_statement(query: str) -> str:
    """Its first words, without numbers: `BEGIN; SELECT pg_advisory_xact_lock`."""
    return " ".join(query.split()[:3]).partition("(")[0]
