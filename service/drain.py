"""Whether this process is on its way out, so that readiness turns red and what would last for ever ends."""

from __future__ import annotations

import asyncio


class Drain:
    """One way, once: from serving to draining. Belongs to the event loop that awaits it."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()

    @property
    def draining(self) -> bool:
        """Whether the process takes its leave: `/readyz` is red, requests are still served."""
        return self._begun.is_set()

    async def wait(self) -> None:
        """Return as soon as draining begins: the end of long polls and event streams."""
        await self._begun.wait()

    def begin(self) -> None:
        """Start draining. Idempotent."""
        self._begun.set()
