"""Where the bytes live: one interface for every store, proved by tests/contract/test_storage.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from service.domain.blob import Sha256


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a listing: its key, its size in bytes, when the store wrote it (UTC)."""

    key: str
    size: int
    modified_at: datetime


def name_in(key: str) -> Sha256:
    """The hash that a key says its bytes have."""
    return Sha256(key[6:70])


class StagedObject(Protocol):
    """Bytes on their way in: invisible to every other method until `commit` returns.

    Ends with exactly one `commit` or any number of `cancel`; after either, nothing of the staging is left.
    """

    @property
    def path(self) -> Path:
        """A local file that holds what was written so far, complete once `flush` returned; read-only for its reader."""

    async def write(self, chunk: bytes) -> None:
        """Append `chunk`. Raises `StorageFull` when no room is left, `StorageUnavailable` on any other failure."""

    async def flush(self) -> None:
        """Make `path` complete for another process to read; says nothing about durability."""

    async def commit(self, key: str) -> None:
        """Make the bytes durable and visible under `key`, which nobody has used before.

        On return they survive a crash. On an error the key may or may not exist: the caller treats the object as
        unknown and deletes it later. Raises `StorageFull`, `StorageUnavailable`. Releases the staging in either case.
        """

    async def cancel(self) -> None:
        """Drop the bytes. Does nothing after a `commit` or an earlier `cancel`; never raises for a lost store."""


class ByteStream(Protocol):
    """The bytes of one opened range, in order, once. Close it, whatever happens: it holds a file or a connection."""

    @property
    def size(self) -> int:
        """Bytes that this stream will yield."""

    @property
    def path(self) -> Path | None:
        """The whole object as a local file that the server may send itself, None where there is none."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield non-empty chunks of at most 1 MiB, `size` bytes in all.

        Raises `StorageUnavailable` when the store ends early: a short stream never looks complete.
        """

    async def aclose(self) -> None:
        """Release the file or connection. Idempotent."""


class Storage(Protocol):
    """An object store: keys `<aa>/<bb>/<sha256>.<uuid7>`, each written once and never again.

    Callers are trusted for digest and size: those are checked once, before any adapter. Absence is `ObjectMissing` and
    comes from the store's own 404 alone; refusals, time-outs and server errors are `StorageUnavailable`.
    """

    @property
    def backend(self) -> str:
        """The name that telemetry shows: `memory`, `filesystem` or `s3`."""

    async def stage(self) -> StagedObject:
        """Open a place for bytes whose name is not known yet. Raises `StorageFull`, `StorageUnavailable`."""

    async def open(self, key: str, offset: int = 0, length: int | None = None) -> ByteStream:
        """Open `length` bytes from `offset` (to the end when None; clamped to the object).

        A coroutine: a missing object raises `ObjectMissing` here, while a 404 is still possible.
        """

    async def delete(self, key: str) -> None:
        """Remove the object; removing an absent one succeeds. Raises `StorageUnavailable`."""

    def list(self, after: str = "") -> AsyncIterator[StoredObject]:
        """Yield every committed object whose key is greater than `after`, in ascending order of key (code points).

        Objects committed or deleted meanwhile may or may not show; nothing else that lies in the store does.
        """

    async def check(self) -> None:
        """Return when the store answers and is writable in principle; raise `StorageUnavailable` with the reason."""
