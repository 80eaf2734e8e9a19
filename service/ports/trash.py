"""The end of the trash, which comes without a request."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from service.ports.refs import RoleJudge

TOMBSTONE = timedelta(days=90)
"""How long a purged ref is known to be gone; after that it is as unknown as one that never was."""


class Trash(Protocol):
    """Refs whose time in the trash is over, in all workspaces. For workers: any number may run at once."""

    async def purge_due(self, limit: int, judge: RoleJudge) -> int:
        """Judge up to `limit` refs that are due, the longest due first, and purge those that the judge says.

        Returns how many. One transaction, which waits for nobody: what somebody else is changing at this moment is left
        for the next time, so fewer than `limit` does not mean that no more are due.
        """

    async def forget_tombstones(self, limit: int) -> int:
        """Delete up to `limit` tombstones that are older than `TOMBSTONE`; returns how many."""
