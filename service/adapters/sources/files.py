"""Bytes of local files; with a root, of nothing outside of it."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from service.adapters.threads import in_thread
from service.ports.sources import OpenedSource, SourceFailed, SourceRefused

_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileSource:
    """Relative paths begin at `start`; where `root` is set, what lies outside is refused, whatever leads there."""

    start: Path
    root: Path | None = None

    @asynccontextmanager
    async def open(self, text: str) -> AsyncIterator[OpenedSource]:
        """The bytes of a regular file. Raises `SourceRefused`, `SourceFailed`."""
        descriptor = await in_thread(lambda: self._open(text), undo=os.close)
        try:
            size = os.fstat(descriptor).st_size
            yield OpenedSource(_blocks(descriptor), size)
        finally:
            os.close(descriptor)

    def _open(self, text: str) -> int:
        try:
            path = self.start / text
            descriptor = _open(path) if self.root is None else _open_within(path, self.root)
        except OSError as error:
            raise SourceFailed(f"The file cannot be opened: {error.strerror or type(error).__name__}.") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise SourceRefused("This is no regular file.")
        return descriptor


def _open(path: Path) -> int:
    # A pipe without a writer would be waited for.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)


def _open_within(path: Path, root: Path) -> int:
    """Open where `path` leads if that is within `root`.

    The way is resolved first and then gone folder by folder without following anything: what is made a link between
    the two is not opened.
    """
    real_root = root.resolve(strict=True)
    try:
        steps = path.resolve(strict=True).relative_to(real_root).parts
    except ValueError:
        raise SourceRefused("The path leads out of the root.") from None
    except RuntimeError as error:
        raise SourceFailed("The path leads in a circle.") from error
    if not steps:
        raise SourceRefused("This is no regular file.")
    folder = os.open(real_root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        for step in steps[:-1]:
            inner = os.open(step, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(
            steps[-1], os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW, dir_fd=folder
        )
    finally:
        os.close(folder)


async def _blocks(descriptor: int) -> AsyncIterator[bytes]:
    try:
        while block := await in_thread(lambda: os.read(descriptor, _BLOCK)):
            yield block
    except OSError as error:
        raise SourceFailed(f"The file cannot be read: {error.strerror or type(error).__name__}.") from error
