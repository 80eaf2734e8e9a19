"""Short texts beside the objects of a store: what must be true of the store itself, whatever the database says."""

from __future__ import annotations

from typing import Protocol


class StoreNotes(Protocol):
    """Notes by name, lower-case letters only, so that no note is ever taken for an object. No listing shows them."""

    async def read_note(self, name: str) -> bytes | None:
        """The note, None where the store says that there is none. Raises `StorageUnavailable`."""

    async def write_note(self, name: str, content: bytes) -> None:
        """Write the note, whole or not at all, durable on return; the last writer wins.

        Raises `StorageFull`, `StorageUnavailable`.
        """
