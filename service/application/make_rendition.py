"""A rendition is made of its parent, once for all who ask for it at the same time, here and on other replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

from service.application.at_hand import at_hand
from service.application.lifetimes import Lifetimes
from service.application.put_object import PutObject
from service.application.staging import stage
from service.domain.errors import (
    DimensionsExceeded,
    ReadOnly,
    RefkeepError,
    RenderBusy,
    UnreadableMedia,
)
from service.domain.rendition import Format, Preset
from service.observability import observed
from service.ports.descriptors import ServableBytes
from service.ports.objects import ObjectLedger, Reservation
from service.ports.renderer import Renderer
from service.ports.renditions import PublishedRendition, Rendition, RenditionKey, Renditions
from service.ports.storage import Storage

CLAIM = timedelta(seconds=5)
"""How long others wait for a process that died, or lost the database, while it was making a rendition."""

MOST_AT_ONCE = 64
"""Renditions that one process has begun: so many parents may lie in its spool, so many ask the database."""

_PATIENCE_SECONDS = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_REFUSED_FOR = 60.0
_MOST_REFUSED = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """A rendition of `parent`, in a `format` that the preset offers of its type."""

    parent: ServableBytes
    preset: Preset
    format: Format


@dataclass(frozen=True, slots=True)
class MakeRendition:
    """Find a rendition, or make it.

    Whoever asks while it is made waits for the same making; that goes on when they go away. What cannot be made is not
    tried again for a minute: a picture that kills what decodes it costs that once.
    """

    renditions: Renditions
    renderer: Renderer
    storage: Storage
    objects: ObjectLedger
    lifetimes: Lifetimes
    read_only: bool = False
    most_at_once: int = MOST_AT_ONCE
    claim_for: timedelta = CLAIM
    clock: Callable[[], float] = monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _put: PutObject = field(init=False, repr=False, compare=False)
    _making: dict[RenditionKey, asyncio.Task[Rendition]] = field(default_factory=dict, init=False, repr=False)
    _refused: dict[RenditionKey, tuple[float, RefkeepError]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """What it puts bytes into the store with is made of the same parts."""
        object.__setattr__(self, "_put", PutObject(self.storage, self.objects, self.lifetimes))

    def key(self, wanted: Wanted) -> RenditionKey:
        """What it is found by."""
        return RenditionKey(wanted.parent.sha256, wanted.preset.definition(self.renderer.engine), wanted.format)

    async def find(self, wanted: Wanted) -> Rendition | None:
        """The rendition, if it has been made. Raises `Unavailable`."""
        return await self.renditions.find(self.key(wanted))

    async def __call__(self, wanted: Wanted) -> Rendition:
        """The rendition, durable on return.

        Raises `UnreadableMedia` and `DimensionsExceeded` for a parent of which it cannot be made, `RenderBusy` when too
        much is being made, `ReadOnly` where nothing may be, `NotFound` when nobody holds the parent any longer,
        `OnHold`, `ObjectMissing` and `BytesCorrupt` for a parent that the store has lost, `StorageFull`,
        `StorageUnavailable`, `ProbeUnavailable`, `Unavailable`.
        """
        if self.read_only:
            raise ReadOnly
        key = self.key(wanted)
        until, refusal = self._refused.get(key, (0.0, None))
        if refusal is not None and until > self.clock():
            raise refusal
        return await asyncio.shield(self._making.get(key) or self._begin(key, wanted))

    async def aclose(self) -> None:
        """Give up what is being made. Idempotent."""
        making = list(self._making.values())
        for task in making:
            task.cancel()
        await asyncio.gather(*making, return_exceptions=True)

    def _begin(self, key: RenditionKey, wanted: Wanted) -> asyncio.Task[Rendition]:
        if len(self._making) >= self.most_at_once:
            raise RenderBusy
        task = self._making[key] = asyncio.create_task(self._find_or_make(key, wanted))
        task.add_done_callback(lambda done: self._end(key, done))
        return task

    def _end(self, key: RenditionKey, done: asyncio.Task[Rendition]) -> None:
        del self._making[key]
        error = None if done.cancelled() else done.exception()
        if isinstance(error, UnreadableMedia | DimensionsExceeded):
            self._refused[key] = (self.clock() + _REFUSED_FOR, error)
            if len(self._refused) > _MOST_REFUSED:
                del self._refused[next(iter(self._refused))]

    async def _find_or_make(self, key: RenditionKey, wanted: Wanted) -> Rendition:
        """Wait until somebody has made it, or the making is ours. Who made it has ended its claim: look, then."""
        pause, deadline = _FIRST_PAUSE, self.clock() + _PATIENCE_SECONDS
        while not (is_ours := await self.renditions.claim(key, self.claim_for)) and self.clock() < deadline:
            await self.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        if not is_ours:
            raise RenderBusy
        keeping = asyncio.create_task(self._keep_claim(key))
        try:
            return await self.renditions.find(key) or await self._make(key, wanted)
        finally:
            keeping.cancel()
            await asyncio.shield(self._disclaim(key))

    async def _keep_claim(self, key: RenditionKey) -> None:
        """For as long as it takes: a claim is short, so that nobody waits for the dead."""
        while True:
            await asyncio.sleep(self.claim_for.total_seconds() / 3)
            with suppress(RefkeepError):
                await self.renditions.prolong(key, self.claim_for)

    async def _disclaim(self, key: RenditionKey) -> None:
        with suppress(RefkeepError):  # the claim ends by itself
            await self.renditions.disclaim(key)

    @observed("rendition.make", layer="usecase")
    async def _make(self, key: RenditionKey, wanted: Wanted) -> Rendition:
        async with at_hand(self.storage, wanted.parent) as path:
            rendered = await self.renderer.render(path, wanted.parent.media_type, wanted.preset, wanted.format)
        staged = await stage(self.storage, _whole(rendered.content), len(rendered.content))

        async def publish(reservation: Reservation) -> PublishedRendition:
            return await self.renditions.publish(key, reservation, rendered.media)

        try:
            return (await self._put(staged, publish)).rendition
        finally:
            await asyncio.shield(staged.object.cancel())


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content
