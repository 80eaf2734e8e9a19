"""Renditions in dictionaries, made by a renderer that writes down what it was asked: as quick as tests like it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from service.adapters.memory.database import MemoryDatabase
from service.adapters.memory.objects import MemoryObjects
from service.application.lifetimes import Lifetimes
from service.application.make_rendition import MakeRendition
from service.domain.blob import MediaInfo, Sha256
from service.domain.errors import NotFound
from service.domain.placeholder import Placeholder
from service.domain.policy import Cardinality, Policies, Policy, Visibility
from service.domain.rendition import Format, Normalisation, Preset
from service.ports.descriptors import ServableBytes
from service.ports.objects import Reservation
from service.ports.renderer import Rendered
from service.ports.renditions import PublishedRendition, Rendition, RenditionKey

THUMB, CARD = Preset("thumb", 8, 8), Preset("card", 64, 64, formats=(Format.ORIGINAL,))
PRESET_POLICIES = Policies(
    (
        Policy("book", "cover", Cardinality.SINGLE, Visibility.PUBLIC, presets=("thumb", "card")),
        Policy("book", "*", Cardinality.LIST, Visibility.PUBLIC, presets=("card",)),
        Policy("*", "*", Cardinality.LIST, Visibility.PRIVATE),
    ),
    (THUMB, CARD),
)


@dataclass
class PlainRenderer:
    """Makes a text of what it was asked for; waits until `may_end`, where a test has cleared it."""

    engine: str = "plain/1"
    made: list[tuple[str, Format]] = field(default_factory=list)
    fails_with: Exception | None = None
    began: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_end.set()

    async def render(self, path: Path, media_type: str, preset: Preset, chosen: Format) -> Rendered:  # noqa: ARG002
        """See the port."""
        content = await asyncio.to_thread(path.read_bytes)
        self.made.append((preset.name, chosen))
        self.began.set()
        await self.may_end.wait()
        if self.fails_with is not None:
            raise self.fails_with
        text = f"{preset.width}x{preset.height} {chosen} by {self.engine} of ".encode()
        return Rendered(text + content[:1000], MediaInfo(chosen.media_type, preset.width, preset.height, 1))

    async def normalise(self, path: Path, media_type: str, wanted: Normalisation) -> Rendered | None:
        """Nobody asks."""
        raise NotImplementedError

    async def placeholder(self, path: Path, media_type: str) -> Placeholder:
        """Nobody asks."""
        raise NotImplementedError

    async def warm(self) -> None:
        """Nothing to start."""

    async def aclose(self) -> None:
        """Nothing to stop."""


@dataclass
class KnownRenditions:
    """See the port; `lost` are parents that nobody holds any longer."""

    known: dict[RenditionKey, Rendition] = field(default_factory=dict)
    claims: set[RenditionKey] = field(default_factory=set)
    lost: set[Sha256] = field(default_factory=set)
    prolonged: asyncio.Queue[tuple[RenditionKey, timedelta]] = field(default_factory=asyncio.Queue)
    fails_with: Exception | None = None

    async def find(self, key: RenditionKey) -> Rendition | None:
        """See the port."""
        await asyncio.sleep(0)
        return self.known.get(key)

    async def claim(self, key: RenditionKey, claim_for: timedelta) -> bool:
        """See the port."""
        assert claim_for > timedelta(0)
        await asyncio.sleep(0)
        is_free = key not in self.claims
        self.claims.add(key)
        return is_free

    async def prolong(self, key: RenditionKey, claim_for: timedelta) -> None:
        """See the port."""
        self.prolonged.put_nowait((key, claim_for))
        if self.fails_with is not None:
            raise self.fails_with

    async def disclaim(self, key: RenditionKey) -> None:
        """See the port."""
        self.claims.discard(key)
        if self.fails_with is not None:
            raise self.fails_with

    async def publish(self, key: RenditionKey, reservation: Reservation, media: MediaInfo) -> PublishedRendition:
        """See the port."""
        if key.parent in self.lost:
            raise NotFound("Nobody holds the blob that this was made of.")
        content = ServableBytes(reservation.sha256, reservation.size, media.media_type, reservation.key)
        is_first = key not in self.known
        found = self.known.setdefault(key, Rendition(content))
        return PublishedRendition(found, object_used=is_first)

    async def count_stale(self, *_: Any) -> int:
        """Nobody asks."""
        raise NotImplementedError

    async def drop_stale(self, *_: Any) -> int:
        """Nobody asks."""
        raise NotImplementedError


@dataclass
class Darkroom:
    """Replicas that make renditions of what is in one store, and what they share."""

    storage: Any
    renditions: KnownRenditions = field(default_factory=KnownRenditions)
    renderer: PlainRenderer = field(default_factory=PlainRenderer)
    objects: MemoryObjects = field(default_factory=lambda: MemoryObjects(MemoryDatabase()))

    def replica(self, **parts: Any) -> MakeRendition:
        """A process of its own."""
        named = {"renditions": self.renditions, "renderer": self.renderer, "storage": self.storage, **parts}
        return MakeRendition(**named, objects=self.objects, lifetimes=Lifetimes())

    def hold(self, status: int | None) -> None:
        """An operator's hold of everything that was made, or its end."""
        for key, rendition in self.renditions.known.items():
            self.renditions.known[key] = replace(rendition, hold=status)
