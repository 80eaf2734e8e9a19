"""Which objects were not read for the longest time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from service.ports.integrity import KnownObject


class Scrubbing(Protocol):
    """The time of an object's last check is the checkpoint: whoever comes next goes on where it was left."""

    async def claim(self, before: datetime, limit: int, claim_for: timedelta) -> Sequence[KnownObject]:
        """Up to `limit` live objects whose last check was before that moment, the oldest first.

        Nobody else gets them for `claim_for`, or until they are checked. Committed on return.
        """

    async def note_checked(self, found: KnownObject) -> None:
        """The object was read to its end, whatever was found."""

    async def release(self, claimed: Sequence[KnownObject]) -> None:
        """Let go of objects that were claimed and not read."""

    async def left(self, before: datetime) -> int:
        """How many live objects were last checked before that moment; counting stops at 100,000."""
