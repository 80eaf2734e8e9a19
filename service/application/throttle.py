"""Work that leaves others their share: so many objects and bytes a second, however many do it at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic


@dataclass(slots=True)
class Throttle:
    """Counts what is begun and read; None is no limit. `tell` is called with all bytes so far."""

    bytes_a_second: int | None = None
    objects_a_second: float | None = None
    tell: Callable[[int], None] = lambda _: None
    bytes: int = 0
    objects: int = 0
    started: float = field(default_factory=monotonic)

    async def begin(self) -> None:
        """Return when the next object may be begun."""
        self.objects += 1
        await self._wait(self.objects - 1, self.objects_a_second)

    async def pace(self, size: int) -> None:
        """Count bytes that were read, return when more may be."""
        self.bytes += size
        self.tell(self.bytes)
        await self._wait(self.bytes, self.bytes_a_second)

    async def _wait(self, done: int, rate: float | None) -> None:
        if rate is not None:
            await asyncio.sleep(max(0.0, done / rate - (monotonic() - self.started)))
