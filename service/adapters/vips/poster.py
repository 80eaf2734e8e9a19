"""Posters of films: one early frame, read by FFmpeg through PyAV. Runs in a sealed child; see `video` and `render`."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from itertools import islice

import av
import msgspec
import pyvips
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from service.adapters.vips.orders import Described, Drawn, NormaliseOrder, RenderOrder
from service.adapters.vips.picture import Refused
from service.adapters.vips.render import answered, draw, sketch
from service.adapters.vips.video import DEMUXERS, MAX_PIXELS, open_container
from service.domain.layout import Size

for _name in ("audio.codeccontext", "audio.stream", "subtitles.codeccontext", "subtitles.stream", "sidedata.sidedata"):
    importlib.import_module(f"av.{_name}")  # PyAV loads these when it meets a stream: too late for a sealed child

_SHARE, _LATEST_US = 10, 3_000_000
"""The poster is a tenth into the film, but not after three seconds: films begin in black."""

_MAX_FRAMES = 250
"""Frames that are decoded to get there: the key frames of a film may lie far apart."""


@dataclass(frozen=True, slots=True)
class Poster:
    """A frame, upright, with square pixels."""

    image: pyvips.Image
    size: Size

    def still(self, size: Size, fail_on: str, *, srgb: bool = True) -> pyvips.Image:  # noqa: ARG002 - a `Subject`
        """See `Subject.still`."""
        return self.image.thumbnail_image(size.width, height=size.height, size="force")


def render(source: int, sink: int, media_type: str, order: msgspec.Raw) -> Drawn:
    """Put a preset of the poster into `sink`."""
    wanted = msgspec.json.decode(order, type=RenderOrder)
    return answered(Drawn, lambda: draw(read_poster(source, media_type), sink, wanted))


def normalise(source: int, sink: int, media_type: str, order: msgspec.Raw) -> Drawn:  # noqa: ARG001 - a task's form
    """Films are what they are."""
    msgspec.json.decode(order, type=NormaliseOrder)
    return Drawn()


def describe(source: int, sink: int, media_type: str, order: msgspec.Raw) -> Described:  # noqa: ARG001 - a task's form
    """Say what stands in the poster's place."""
    return answered(Described, lambda: sketch(read_poster(source, media_type)))


def read_poster(source: int, media_type: str) -> Poster:
    """The poster of an open file. Raises `Refused`."""
    os.lseek(source, 0, os.SEEK_SET)
    try:
        with os.fdopen(os.dup(source), "rb") as file, open_container(file, DEMUXERS[media_type]) as container:
            return _poster(container)
    except (av.FFmpegError, EOFError, ValueError, OverflowError) as error:
        raise Refused("unreadable") from error


def _poster(container: InputContainer) -> Poster:
    if not container.streams.video:
        raise EOFError("no picture")
    stream = container.streams.video[0]
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MAX_PIXELS:
        raise Refused("pixels", (width, height), MAX_PIXELS)
    return _upright(_early_frame(container, stream), stream)


def _early_frame(container: InputContainer, stream: VideoStream) -> VideoFrame:
    """The first frame at the time of the poster; the last one that comes before it when none does."""
    wanted_us = min((container.duration or 0) // _SHARE, _LATEST_US)
    stream.thread_type = "NONE"
    found = None
    for found in islice(container.decode(stream), _MAX_FRAMES):
        if found.pts is None or found.time * 1_000_000 >= wanted_us:
            break
    if found is None:
        raise EOFError("no frame")
    return found


def _upright(frame: VideoFrame, stream: VideoStream) -> Poster:
    ratio = stream.sample_aspect_ratio
    width = max(1, round(frame.width * ratio)) if ratio and 0 < ratio < 100 else frame.width
    picture = frame.reformat(width=width, height=frame.height, format="rgb24")
    plane = picture.planes[0]
    rows = pyvips.Image.new_from_memory(bytes(plane), plane.line_size, picture.height, 1, "uchar")
    image = rows.crop(0, 0, 3 * picture.width, picture.height).bandfold(factor=3).copy(interpretation="srgb")
    turned = -round(frame.rotation / 90) % 4
    image = image if turned == 0 else image.rot(f"d{90 * turned}").copy_memory()
    return Poster(image, Size(image.width, image.height))
