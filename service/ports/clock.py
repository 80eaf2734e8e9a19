"""The one clock: the database's, so that all replicas have the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Raises `Unavailable`."""

    async def ago(self, age: timedelta) -> datetime:
        """The moment `age` before now, in UTC."""
