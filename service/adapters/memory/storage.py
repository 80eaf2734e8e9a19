"""Objects in the memory of this process: a store for one process and its tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from service.adapters.keys import check_key, check_note
from service.adapters.spool import ABANDONED_AFTER, Spool, SpoolFile, os_errors
from service.adapters.threads import in_thread
from service.domain.errors import ObjectMissing, StorageUnavailable
from service.ports.storage import StoredObject

CHUNK = 1024 * 1024


class MemoryStaged:
    """Bytes in a spool file, because what looks at them is another process."""

    def __init__(self, file: SpoolFile, publish: Callable[[str, bytes], None]) -> None:
        self._file = file
        self._publish = publish

    @property
    def path(self) -> Path:
        """The spool file."""
        return self._file.path

    async def write(self, chunk: bytes) -> None:
        """Append `chunk`."""
        await self._file.write(chunk)

    async def flush(self) -> None:
        """Complete the spool file."""
        await self._file.flush()

    async def commit(self, key: str) -> None:
        """Keep the bytes under `key`."""
        try:
            check_key(key)
            await self._file.flush()
            with os_errors():
                self._publish(key, await in_thread(self._file.path.read_bytes))
        finally:
            await self._file.discard()

    async def cancel(self) -> None:
        """Remove the spool file."""
        await self._file.discard()


class MemoryStream:
    """A range of bytes that are there already."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._closed = False

    @property
    def size(self) -> int:
        """Bytes to come."""
        return len(self._content)

    @property
    def path(self) -> None:
        """No file holds them."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the bytes."""
        for start in range(0, self.size, CHUNK):
            if self._closed:
                raise StorageUnavailable("The stream was closed before its end.")
            yield bytes(self._content[start : start + CHUNK])

    async def aclose(self) -> None:
        """End the stream."""
        self._closed = True


class MemoryStorage:
    """Implements `Storage`; `spool` is a folder for uploads, made by `aopen`."""

    backend = "memory"

    def __init__(self, spool: Path) -> None:
        self._spool = Spool(spool)
        self._objects: dict[str, tuple[bytes, datetime]] = {}
        self._notes: dict[str, bytes] = {}

    async def aopen(self) -> None:
        """Make the spool folder; raises `StorageUnavailable`."""
        with os_errors():
            await in_thread(self._spool.prepare)

    async def aclose(self) -> None:
        """Nothing is open. Idempotent."""

    async def sweep_abandoned(self, older_than: float = ABANDONED_AFTER) -> int:
        """Remove the uploads of crashed processes, untouched for `older_than` seconds; return how many."""
        return await self._spool.sweep_abandoned(older_than)

    async def stage(self) -> MemoryStaged:
        """Open a place for bytes."""
        return MemoryStaged(self._spool.new(), self._publish)

    async def open(self, key: str, offset: int = 0, length: int | None = None) -> MemoryStream:
        """Open a range of the object."""
        if check_key(key) not in self._objects:
            raise ObjectMissing(key)
        content, _ = self._objects[key]
        end = len(content) if length is None else offset + length
        return MemoryStream(memoryview(content)[offset:end])

    async def delete(self, key: str) -> None:
        """Forget the object."""
        self._objects.pop(check_key(key), None)

    async def list(self, after: str = "") -> AsyncIterator[StoredObject]:
        """Yield the objects in key order."""
        for key in sorted(key for key in self._objects if key > after):
            if key in self._objects:
                content, modified_at = self._objects[key]
                yield StoredObject(key, len(content), modified_at)

    async def read_note(self, name: str) -> bytes | None:
        """See `StoreNotes`."""
        return self._notes.get(check_note(name))

    async def write_note(self, name: str, content: bytes) -> None:
        """See `StoreNotes`."""
        self._notes[check_note(name)] = content

    async def end_unfinished(self, _before: datetime, *, dry_run: bool = False) -> int:  # noqa: ARG002 - see below
        """See `UnfinishedUploads`: what is staged is whole or swept, there are no parts."""
        return 0

    async def check(self) -> None:
        """Memory always answers."""

    def _publish(self, key: str, content: bytes) -> None:
        self._objects[key] = (content, datetime.now(UTC))
