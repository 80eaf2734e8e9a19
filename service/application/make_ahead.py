"""Presets that a policy calls eager are made when something is attached, and not when somebody waits for them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from service.application.make_rendition import MakeRendition, Wanted
from service.domain.blob import Sha256
from service.domain.policy import Policies
from service.domain.ref import ResolvedRef
from service.domain.rendition import offered
from service.observability import observed
from service.ports.descriptors import Descriptors

MOST_WAITING = 256


@dataclass(frozen=True, slots=True)
class Attached:
    """A blob of a workspace that fills a role with these eager presets."""

    workspace: str
    sha256: Sha256
    presets: tuple[str, ...]


def _queue() -> asyncio.Queue[Attached]:
    return asyncio.Queue(MOST_WAITING)


@dataclass(frozen=True, slots=True)
class MakeAhead:
    """One rendition after the other, in the background; what does not fit or is lost is made when it is asked for."""

    policies: Policies
    descriptors: Descriptors
    make: MakeRendition
    _waiting: asyncio.Queue[Attached] = field(default_factory=_queue, init=False, repr=False, compare=False)

    def begin(self, resolved: ResolvedRef) -> None:
        """Have the eager presets of a ref's role made. Never waits, never raises."""
        ref = resolved.ref
        policy = self.policies.find(ref.entity.type, ref.role)
        if policy is not None and policy.eager:
            with suppress(asyncio.QueueFull):
                self._waiting.put_nowait(Attached(ref.entity.workspace, ref.sha256, policy.eager))

    async def run(self) -> None:
        """Make what was begun, until cancelled."""
        while True:
            attached = await self._waiting.get()
            with suppress(Exception):  # on record by itself; the next must have its turn whatever broke
                await self._make_all(attached)
            self._waiting.task_done()

    async def idle(self) -> None:
        """Return when everything that was begun has ended, well or not."""
        await self._waiting.join()

    @observed("rendition.ahead", layer="usecase")
    async def _make_all(self, attached: Attached) -> None:
        blob = await self.descriptors.of_blob(attached.sha256, attached.workspace)
        if blob is None or blob.hold is not None:
            return
        for preset in filter(None, map(self.policies.preset, attached.presets)):
            for chosen in offered(preset, blob.content.media_type):
                wanted = Wanted(blob.content, preset, chosen)
                if await self.make.find(wanted) is None:
                    await self.make(wanted)
