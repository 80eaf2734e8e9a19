"""What uploads leave in a store that takes large files in parts, when their process is killed."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class UnfinishedUploads(Protocol):
    """Parts that no object was made of: no listing shows them, and they cost like any other bytes."""

    async def end_unfinished(self, before: datetime, *, dry_run: bool = False) -> int:
        """End the uploads that began before that moment; returns how many there were. Raises `StorageUnavailable`.

        With `dry_run` they are only counted. A store without parts has none.
        """
