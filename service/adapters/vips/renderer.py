"""The renderer: pictures out of children of their own, so that making them never keeps looking at others waiting."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import anyio.to_thread
import msgspec

from service.adapters.spool import os_errors
from service.adapters.vips.cores import cores
from service.adapters.vips.lane import Bounds, ChildLost, Lane, LaneFull
from service.adapters.vips.orders import Described, Drawn, NormaliseOrder, RenderOrder
from service.adapters.vips.sniff import HEAD_BYTES, sniff
from service.adapters.vips.task import Task
from service.domain.blob import MediaInfo
from service.domain.errors import DimensionsExceeded, RenderBusy, RenderFailed, UnreadableMedia
from service.domain.placeholder import Placeholder
from service.domain.rendition import Format, Normalisation, Preset, original_format
from service.observability import RenderingState
from service.ports.renderer import Rendered

ENGINE = f"vips-{version('pyvips-binary')}/3"
"""Names whatever decides over the bytes that come out: libvips with its encoders, and the number of this package."""

CORES = cores()
"""So many pictures are worked on at the same time."""

_PICTURES, _FILMS = "service.adapters.vips.render", "service.adapters.vips.poster"
_FILM_TYPES = ("video/mp4", "video/webm")

_THUMBHASH, _COLOUR = re.compile(r"[A-Za-z0-9+/]{6,40}={0,2}"), re.compile(r"#[0-9a-f]{6}")

A = TypeVar("A", Drawn, Described)


def rendering_bounds() -> Bounds:
    """A child for each core, at most 32 MiB a picture, and a queue that is done in some seconds."""
    return Bounds(children=CORES, waiting=32, file_bytes=32 << 20, niceness=5)


class VipsRenderer:
    """A `Renderer` on libvips and, where the extra `video` is installed, FFmpeg.

    `pictures` names the module whose functions a child of pictures carries out.
    """

    def __init__(self, bounds: Bounds | None = None, pictures: str = _PICTURES) -> None:
        self._bounds, self._module = bounds or rendering_bounds(), pictures
        self._pictures = Lane(self._bounds, pictures, sealed=True)
        self._films = Lane(replace(self._bounds, children=1), _FILMS, sealed=True) if find_spec("av") else None

    @property
    def engine(self) -> str:
        """See `Renderer.engine`."""
        return ENGINE

    async def render(self, path: Path, media_type: str, preset: Preset, chosen: Format) -> Rendered:
        """See `Renderer.render`."""
        order = RenderOrder(preset, chosen, self._bounds.file_bytes)
        rendered = await self._drawn("render", path, media_type, (order, {chosen.media_type}))
        if rendered is None:
            raise RenderFailed(media_type)
        return rendered

    async def normalise(self, path: Path, media_type: str, wanted: Normalisation) -> Rendered | None:
        """See `Renderer.normalise`."""
        order = NormaliseOrder(wanted, self._bounds.file_bytes)
        encoded = original_format(media_type) if wanted.format is Format.ORIGINAL else wanted.format
        allowed = {media_type, *({encoded.media_type} if encoded else ())}
        return await self._drawn("normalise", path, media_type, (order, allowed))

    async def placeholder(self, path: Path, media_type: str) -> Placeholder:
        """See `Renderer.placeholder`."""
        async with _opened(path) as (source, sink):
            found = await self._answer("describe", Described, media_type, None, (source, sink))
        if found.placeholder is None or not _is_possible(found.placeholder):
            raise RenderFailed(media_type)
        return found.placeholder

    def state(self) -> RenderingState:
        """How much is being made, and how much waits."""
        states = [lane.state() for lane in (self._pictures, self._films) if lane is not None]
        return RenderingState(sum(each.running for each in states), sum(each.waiting for each in states))

    async def warm(self) -> None:
        """See `Renderer.warm`."""
        await self._pictures.warm()

    async def aclose(self) -> None:
        """See `Renderer.aclose`."""
        await self._pictures.aclose()
        if self._films is not None:
            await self._films.aclose()

    async def _drawn(
        self, function: str, path: Path, media_type: str, wanted: tuple[RenderOrder | NormaliseOrder, Set[str]]
    ) -> Rendered | None:
        order, allowed = wanted
        async with _opened(path) as (source, sink):
            drawn = await self._answer(function, Drawn, media_type, order, (source, sink))
            if drawn.media is None:
                return None
            if not 0 < drawn.length <= self._bounds.file_bytes:
                raise RenderFailed(media_type)
            content = await anyio.to_thread.run_sync(os.pread, sink, drawn.length, 0)
        if drawn.media.media_type not in allowed or not _is_what_it_says(content, drawn.length, drawn.media):
            raise RenderFailed(media_type)
        return Rendered(content, drawn.media)

    async def _answer(self, function: str, kind: type[A], media_type: str, order: object, files: Sequence[int]) -> A:
        """What comes with an upload or an attach waits for its turn, as looking at it does; strangers may not."""
        module, lane = (_FILMS, self._films) if media_type in _FILM_TYPES else (self._module, self._pictures)
        if lane is None:
            raise UnreadableMedia(media_type)
        task = Task(f"{module}:{function}", media_type, order=msgspec.Raw(msgspec.json.encode(order)))
        try:
            answer = await lane.carry_out(task, kind, files, patient=function != "render")
        except LaneFull as error:
            raise RenderBusy from error
        except ChildLost as error:
            raise RenderFailed(media_type) from error
        _refuse(answer, media_type)
        return answer


def _refuse(answer: Drawn | Described, media_type: str) -> None:
    if answer.refusal == "pixels":
        raise DimensionsExceeded(*answer.size, answer.max_pixels, None)
    if answer.refusal == "unreadable":
        raise UnreadableMedia(media_type)
    if answer.refusal is not None:
        raise RenderFailed(media_type)


def _is_what_it_says(content: bytes, length: int, media: MediaInfo) -> bool:
    """A child that was taken over may hand over anything: at least it is the kind of picture that it is said to be."""
    counts = (media.width, media.height, media.frames)
    in_range = all(count is not None and 0 < count < 1 << 31 for count in counts)
    return in_range and len(content) == length and sniff(content[:HEAD_BYTES]) == media.media_type


def _is_possible(found: Placeholder) -> bool:
    """Whether it has the form of one: it is shown to everyone."""
    texts = _THUMBHASH.fullmatch(found.thumbhash) and _COLOUR.fullmatch(found.colour)
    return texts is not None and 0 <= found.aspect < 1 << 31


@asynccontextmanager
async def _opened(path: Path) -> AsyncIterator[tuple[int, int]]:
    """The file to read, and one in memory to write into: a child opens neither."""
    with os_errors():
        source = await anyio.to_thread.run_sync(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sink = os.memfd_create("rendition", os.MFD_CLOEXEC)
        try:
            yield source, sink
        finally:
            os.close(sink)
    finally:
        os.close(source)
