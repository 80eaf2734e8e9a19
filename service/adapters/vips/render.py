"""Presets, normalisation and placeholders of pictures. Runs in a sealed child: `source` and `sink` are open files."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import msgspec
import pyvips

from service.adapters.vips.encode import Settings, encode
from service.adapters.vips.malformed import Malformed
from service.adapters.vips.orders import Described, Drawn, NormaliseOrder, RenderOrder
from service.adapters.vips.picture import (
    Picture,
    Refused,
    Subject,
    in_eight_bits,
    patiently,
    read_header,
)
from service.adapters.vips.stripping import stripped
from service.adapters.vips.tails import ends_with_its_picture
from service.domain.blob import MediaInfo
from service.domain.layout import Layout, Size, lay_out, within
from service.domain.placeholder import MIN_EDGE, placeholder
from service.domain.rendition import (
    ARCHIVE_QUALITY,
    DEFAULT_EFFORT,
    Colour,
    Fit,
    Format,
    Normalisation,
    original_format,
)

_PLACEHOLDER_EDGE = 48
"""Pixels: ThumbHash keeps 7 waves at most, and the transform is not done in C."""

R = TypeVar("R", Drawn, Described)


def render(source: int, sink: int, media_type: str, order: msgspec.Raw) -> Drawn:
    """Put a preset of the picture into `sink`."""
    wanted = msgspec.json.decode(order, type=RenderOrder)
    return answered(Drawn, lambda: draw(read_header(source, media_type), sink, wanted))


def normalise(source: int, sink: int, media_type: str, order: msgspec.Raw) -> Drawn:
    """Put the picture into `sink` as it is to be; nothing where it is so already."""
    wanted = msgspec.json.decode(order, type=NormaliseOrder)
    return answered(Drawn, lambda: _normalised(read_header(source, media_type), sink, wanted))


def describe(source: int, sink: int, media_type: str, order: msgspec.Raw) -> Described:  # noqa: ARG001 - a task's form
    """Say what stands in the picture's place."""
    return answered(Described, lambda: sketch(read_header(source, media_type)))


def answered(kind: type[R], work: Callable[[], R]) -> R:
    """What `work` answers, or its refusal."""
    try:
        return work()
    except Refused as refused:
        return kind(refusal=refused.refusal, size=refused.size, max_pixels=refused.max_pixels)


def draw(subject: Subject, sink: int, wanted: RenderOrder) -> Drawn:
    """Put a preset of the subject into `sink`. Raises `Refused`."""
    preset, chosen = wanted.preset, wanted.format
    layout = lay_out(subject.size, preset)
    settings = Settings(chosen, preset.quality(chosen, layout.canvas.width * layout.canvas.height), preset.effort)
    is_framed = preset.fit is Fit.CONTAIN and layout.cut != layout.canvas
    frames = subject.frames_in(chosen, preset.animation) if isinstance(subject, Picture) else 1

    def make(fail_on: str) -> bytes:
        def place(image: pyvips.Image) -> pyvips.Image:
            return _placed(image, layout, transparent=is_framed and chosen.has_alpha)

        if isinstance(subject, Picture) and frames > 1:
            return encode(_animation(subject, layout.scaled, place), settings)
        return encode(place(subject.still(layout.scaled, fail_on)), settings)

    content = patiently(make)
    return _put(sink, content, wanted.max_bytes, (chosen, layout.canvas, _frames_left(content, chosen, frames)))


def sketch(subject: Subject) -> Described:
    """The placeholder of the subject. Raises `Refused`."""
    fitting = within(subject.size, _PLACEHOLDER_EDGE)
    small = Size(max(fitting.width, MIN_EDGE), max(fitting.height, MIN_EDGE))

    def pixels(fail_on: str) -> bytes:
        image = subject.still(small, fail_on).colourspace("srgb")
        return bytes((image if image.hasalpha() else image.addalpha()).cast("uchar").write_to_memory())

    return Described(
        placeholder(small.width, small.height, patiently(pixels), subject.size.width / subject.size.height)
    )


def _normalised(picture: Picture, sink: int, wanted: NormaliseOrder) -> Drawn:
    """Pixels are encoded anew only where they must change: what only loses metadata keeps every one of them."""
    rules = wanted.normalisation
    original = original_format(picture.media_type)
    chosen = original if rules.format is Format.ORIGINAL else rules.format
    if chosen is None:
        raise Refused("unreadable")
    size, stays = within(picture.size, rules.max_edge), rules.animation.admits(picture.frames, picture.duration_ms)
    is_in_colour = rules.colour is Colour.KEEP or picture.is_srgb
    if stays and is_in_colour and (picture.orientation, chosen, size) == (1, original, picture.size):
        data = bytes(picture.data)
        bare = _bare(picture, data, rules)
        if bare == data:
            return Drawn()
        if bare is not None:
            return _put(sink, bare, wanted.max_bytes, (chosen, size, picture.frames), picture.media_type)
    return _encoded_anew(picture, sink, wanted, (chosen, size, picture.frames_in(chosen, rules.animation)))


def _bare(picture: Picture, data: bytes, rules: Normalisation) -> bytes | None:
    if not rules.strip:
        return data
    try:
        bare = stripped(data, picture.media_type, keep_profile=rules.colour is Colour.KEEP)
    except Malformed:
        return None
    return bare if bare is None or ends_with_its_picture(bare, picture.media_type) else None


def _encoded_anew(picture: Picture, sink: int, wanted: NormaliseOrder, result: tuple[Format, Size, int]) -> Drawn:
    rules, (chosen, size, frames) = wanted.normalisation, result
    keeps_profile = rules.colour is Colour.KEEP
    keep = ("icc" if keeps_profile else "none") if rules.strip else "all"
    settings = Settings(chosen, ARCHIVE_QUALITY.get(chosen), DEFAULT_EFFORT, keep)

    def make(fail_on: str) -> bytes:
        if frames > 1:
            return encode(_animation(picture, size, lambda image: image, srgb=not keeps_profile), settings)
        return encode(picture.still(size, fail_on, srgb=not keeps_profile), settings)

    content = patiently(make)
    return _put(sink, content, wanted.max_bytes, (chosen, size, _frames_left(content, chosen, frames)))


def _frames_left(content: bytes, chosen: Format, frames: int) -> int:
    """Encoders join frames that look alike."""
    if frames == 1:
        return 1
    return int(getattr(pyvips.Image, f"{chosen}load_buffer")(content).get_n_pages())


def _animation(
    picture: Picture, size: Size, place: Callable[[pyvips.Image], pyvips.Image], *, srgb: bool = True
) -> pyvips.Image:
    """Each frame for itself, so that none bleeds into the next, one above the other again."""
    pages = in_eight_bits(picture.frame_strip(srgb=srgb)).pagesplit()
    frames = [place(page if Size(page.width, page.height) == size else _scaled(page, size)) for page in pages]
    joined = pyvips.Image.arrayjoin(frames, across=1).copy(interpretation="srgb")
    joined.set_type(pyvips.GValue.gint_type, "page-height", frames[0].height)
    joined.set_type(pyvips.GValue.array_int_type, "delay", list(picture.delays))
    joined.set_type(pyvips.GValue.gint_type, "loop", picture.loop)
    return joined


def _scaled(page: pyvips.Image, size: Size) -> pyvips.Image:
    return page.thumbnail_image(size.width, height=size.height, size="force", no_rotate=True)


def _placed(image: pyvips.Image, layout: Layout, *, transparent: bool) -> pyvips.Image:
    cut, canvas = layout.cut, layout.canvas
    if cut != layout.scaled:
        left, top = (image.width - cut.width) // 2, (image.height - cut.height) // 2
        image = image.crop(left, top, cut.width, cut.height)
    if canvas == cut:
        return image
    if transparent and not image.hasalpha():
        image = image.addalpha()
    colour = [255] * (image.bands - 1) + [0] if image.hasalpha() else [255] * image.bands
    return image.gravity("centre", canvas.width, canvas.height, extend="background", background=colour)


def _put(
    sink: int, content: bytes, max_bytes: int, result: tuple[Format, Size, int], media_type: str | None = None
) -> Drawn:
    if len(content) > max_bytes:
        raise Refused("bytes")
    os.ftruncate(sink, 0)
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(sink, rest) :]
    chosen, size, frames = result
    media = MediaInfo(media_type or chosen.media_type, size.width, size.height, frames, readable=True)
    return Drawn(media, len(content))
