"""Objects as files of one folder: `objects/<key>`, uploads under `staging/` until a rename makes them visible.

The steps of a commit are always the same and in this order: file synced, folders made and synced from the top, file
renamed to its final name, its folder synced. A crash between any two leaves a whole object or none.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

from service.adapters.filesystem.cached import may_be_cached
from service.adapters.filesystem.folders import Folders, sync_folder
from service.adapters.filesystem.listing import list_objects
from service.adapters.filesystem.stream import FileStream, open_cached_range, open_range
from service.adapters.keys import check_key, check_note
from service.adapters.spool import ABANDONED_AFTER, Spool, SpoolFile, os_errors
from service.adapters.threads import in_thread
from service.domain.errors import ObjectMissing, StorageUnavailable
from service.ports.storage import StoredObject


class FilesystemStaged:
    """A file in the staging folder, locked while it is open."""

    def __init__(self, file: SpoolFile, objects: Path, folders: Folders) -> None:
        self._file = file
        self._objects = objects
        self._folders = folders

    @property
    def path(self) -> Path:
        """The staged file."""
        return self._file.path

    async def write(self, chunk: bytes) -> None:
        """Append `chunk`."""
        await self._file.write(chunk)

    async def flush(self) -> None:
        """Complete the staged file."""
        await self._file.flush()

    async def commit(self, key: str) -> None:
        """Make the file durable under its final name: one thread, whatever the size."""
        try:
            await self._move_to(self._objects / check_key(key))
        finally:
            await self._file.discard()

    async def replace_note(self, name: str) -> None:
        """The same for a note, in place of what stands there."""
        try:
            await self._move_to(self._objects / check_note(name))
        finally:
            await self._file.discard()

    async def cancel(self) -> None:
        """Remove the staged file."""
        await self._file.discard()

    async def _move_to(self, target: Path) -> None:
        with os_errors():
            await in_thread(lambda: self._publish(target))

    def _publish(self, target: Path) -> None:
        try:
            os.fsync(self._file.drain())
            self._folders.ensure(target.parent)
            self._file.path.rename(target)
            sync_folder(target.parent)
        except OSError:
            self._folders.forget()
            raise
        finally:
            self._file.close()


class FilesystemStorage:
    """Implements `Storage` in the folder `root`, which `aopen` makes unless it exists.

    Made folders are 0700, files 0600; the mode of what was there is never changed. Folders of objects are never
    removed, so that no commit loses its folder to a delete: at most 65,792 of them.
    """

    backend = "filesystem"

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        self._read_only = read_only
        self._objects = root / "objects"
        self._staging = root / "staging"
        self._spool = Spool(self._staging)
        self._folders = Folders(self._objects)
        self._may_be_cached = False

    async def aopen(self) -> None:
        """Make the folders; raises `StorageUnavailable`, `StorageFull`."""
        with os_errors():
            await in_thread(self._prepare)

    async def aclose(self) -> None:
        """Nothing is open. Idempotent."""

    async def sweep_abandoned(self, older_than: float = ABANDONED_AFTER) -> int:
        """Remove the uploads of crashed processes, untouched for `older_than` seconds; return how many."""
        return await self._spool.sweep_abandoned(older_than)

    async def stage(self) -> FilesystemStaged:
        """Open a place for bytes."""
        return FilesystemStaged(self._spool.new(), self._objects, self._folders)

    async def open(self, key: str, offset: int = 0, length: int | None = None) -> FileStream:
        """Open a range of the file."""
        path = self._objects / check_key(key)
        with os_errors():
            if self._may_be_cached and (cached := open_cached_range(path, offset, length)) is not None:
                return cached
            try:
                return await in_thread(lambda: open_range(path, offset, length), undo=FileStream.close)
            except (FileNotFoundError, NotADirectoryError) as error:
                await in_thread(self._require_root)
                raise ObjectMissing(key) from error

    async def delete(self, key: str) -> None:
        """Remove the file, durably."""
        path = self._objects / check_key(key)
        with os_errors():
            await in_thread(lambda: self._remove(path))

    async def list(self, after: str = "") -> AsyncIterator[StoredObject]:
        """Walk the two levels of folders in order, one folder in memory at a time."""
        async for stored in list_objects(self._objects, after):
            yield stored

    async def read_note(self, name: str) -> bytes | None:
        """See `StoreNotes`: a file among the folders of objects, so that it is where they are mounted."""
        path = self._objects / check_note(name)
        with os_errors():
            try:
                return await in_thread(path.read_bytes)
            except FileNotFoundError:
                await in_thread(self._require_root)
                return None

    async def write_note(self, name: str, content: bytes) -> None:
        """See `StoreNotes`."""
        staged = await self.stage()
        await staged.write(content)
        await staged.replace_note(name)

    async def end_unfinished(self, _before: datetime, *, dry_run: bool = False) -> int:  # noqa: ARG002 - see below
        """See `UnfinishedUploads`: what is staged is whole or swept, there are no parts."""
        return 0

    async def check(self) -> None:
        """See that the folders are there and writable; where nothing is written, that the objects are there."""
        await in_thread(self._require_root if self._read_only else self._require_writable)

    def _prepare(self) -> None:
        try:
            self._folders.ensure_root()
            self._spool.prepare()
        except OSError:
            if not self._read_only:  # else it may be mounted so; whether it is there, `check` says
                raise
        self._may_be_cached = may_be_cached(self._objects)

    def _remove(self, path: Path) -> None:
        try:
            path.unlink()
            sync_folder(path.parent)
        except (FileNotFoundError, NotADirectoryError):
            self._require_root()

    def _require_root(self) -> None:
        # A folder that is not mounted says "no such file" of every object: that is no absence.
        if not self._objects.is_dir():
            raise StorageUnavailable("The folder of objects is not there.")

    def _require_writable(self) -> None:
        self._require_root()
        for folder in (self._objects, self._staging):
            if not os.access(folder, os.W_OK | os.X_OK):
                raise StorageUnavailable("The folders of the store are not writable.")
