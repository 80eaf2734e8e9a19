"""Bytes on their way in, as local files: buffered, locked while their owner lives, swept up when it does not."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from service.adapters.threads import in_thread
from service.domain.errors import StorageFull, StorageUnavailable

WRITE_AT = 1024 * 1024
"""Bytes that a spool file gathers before it pays for a thread."""

ABANDONED_AFTER = 60.0
"""Seconds without a write before a file without an owner is removed: longer than a file takes from open to lock."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def os_errors() -> Iterator[None]:
    """Turn `OSError` into `StorageFull` or `StorageUnavailable`; no path gets into the sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno in _FULL:
            raise StorageFull(f"No room is left: {reason}.") from error
        raise StorageUnavailable(f"The file system refused: {reason}.") from error


class SpoolFile:
    """One file that grows by `write`. Nothing exists on disk before the first full buffer or the first `flush`.

    The methods without `async` block: they are for worker threads, one at a time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._fd: int | None = None
        self._closed = False
        self._intact = True

    async def write(self, chunk: bytes) -> None:
        """Append `chunk`; raises `StorageFull` or `StorageUnavailable`."""
        self._waiting.append(bytes(chunk))
        self._waiting_bytes += len(chunk)
        self.size += len(chunk)
        if self._waiting_bytes >= WRITE_AT:
            await self.flush()

    async def flush(self) -> None:
        """Bring everything written so far into the file."""
        if self._waiting or self._fd is None:
            with os_errors():
                await in_thread(self.drain)

    async def discard(self) -> None:
        """Remove the file if it is still there. Idempotent, never raises."""
        self._waiting.clear()
        if self._fd is None:
            self._closed = True
        else:
            await in_thread(self.close)

    def drain(self) -> int:
        """Write what is waiting and return the file's descriptor; raises `OSError`."""
        fd = self._open()
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        self._intact = False
        view = memoryview(b"".join(waiting))
        while view:
            view = view[os.write(fd, view) :]
        self._intact = True
        return fd

    def close(self) -> None:
        """Remove the file if it still has its name, then let go of it. Idempotent, never raises."""
        self._closed = True
        fd, self._fd = self._fd, None
        if fd is None:
            return
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.close(fd)

    def _open(self) -> int:
        if self._closed or not self._intact:
            raise OSError(errno.EBADF, "the upload has ended")
        if self._fd is None:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self._fd


class Spool:
    """A folder of spool files, shared by any number of processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new(self) -> SpoolFile:
        """A file for one upload, under a name that nobody else has."""
        return SpoolFile(self._folder / uuid4().hex)

    def prepare(self) -> None:
        """Make the folder, for its owner alone, unless it exists. Blocks; raises `OSError`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def sweep_abandoned(self, older_than: float = ABANDONED_AFTER) -> int:
        """Remove the files whose owner died, untouched for `older_than` seconds; return how many."""
        with os_errors():
            return await in_thread(lambda: sum(_remove_abandoned(path, older_than) for path in self._folder.iterdir()))


def _remove_abandoned(path: Path, older_than: float) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        if time.time() - os.fstat(fd).st_mtime < older_than:
            return False
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
