"""A picture as the rendering child has it: what its header says, and its pixels in any size. Runs in the child.

libvips' thumbnailer is what scales: it lets the decoders of WebP and AVIF shrink while they load, turns the picture
upright and multiplies transparent pixels before it mixes them. Of JPEG it leaves a factor of two to Lanczos; here one
and a half is enough, which halves the time of a photograph at a third of its size and costs 0.001 of SSIM.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pyvips

from service.adapters.vips.colour import Stated, is_srgb_profile, stated_colour, with_usual_gamma
from service.adapters.vips.decode import MAX_PIXELS, WHOLE, has_lost_data
from service.adapters.vips.endings import apng_frames
from service.adapters.vips.orders import Refusal
from service.adapters.vips.sniff import HEAD_BYTES
from service.domain.layout import Size
from service.domain.rendition import Animation, Format

T = TypeVar("T")

_LOADERS = {
    "image/jpeg": "jpegload_buffer",
    "image/png": "pngload_buffer",
    "image/apng": "pngload_buffer",
    "image/webp": "webpload_buffer",
    "image/gif": "gifload_buffer",
    "image/avif": "heifload_buffer",
}
_ANIMATED = {"image/webp", "image/gif"}
_SWAPPED = range(5, 9)
_SHRINKS, _LEFT_TO_LANCZOS = (8, 4, 2), 1.5


class Refused(Exception):
    """No picture comes of these bytes; `size` and limit where it has too many pixels."""

    def __init__(self, refusal: Refusal, size: tuple[int, int] = (0, 0), max_pixels: int = 0) -> None:
        super().__init__(refusal)
        self.refusal, self.size, self.max_pixels = refusal, size, max_pixels


class Subject(Protocol):
    """What a rendition is made of."""

    @property
    def size(self) -> Size:
        """Of one frame, upright."""

    def still(self, size: Size, fail_on: str, *, srgb: bool = True) -> pyvips.Image:
        """The first frame, upright, in 8 bits, in exactly this size; in sRGB, or with the profile it has."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in a file. `delays` are milliseconds, one for each frame, empty for a still.

    Of the `frames` that it has, only the first is read where `is_animation` is False. It `is_srgb` where it says so, or
    says nothing, which browsers take for the same; `stated` is what it says without a profile.
    """

    data: mmap.mmap
    media_type: str
    size: Size
    orientation: int
    frames: int
    is_animation: bool
    delays: Sequence[int]
    loop: int
    is_cmyk: bool
    is_srgb: bool
    stated: Stated

    @property
    def duration_ms(self) -> int:
        """Of one round; a frame without a delay takes the 100 ms that browsers give it."""
        return sum(delay or 100 for delay in self.delays)

    def frames_in(self, chosen: Format, limits: Animation) -> int:
        """How many of its frames a rendition in this format has."""
        moves = self.is_animation and chosen.has_frames and limits.admits(self.frames, self.duration_ms)
        return self.frames if moves else 1

    def still(self, size: Size, fail_on: str, *, srgb: bool = True) -> pyvips.Image:
        """See `Subject.still`."""
        profile = {"export_profile": "srgb"} if self.is_cmyk or (srgb and self._has_profile) else {}
        if profile and self.stated.profile is not None:
            profile["import_profile"] = self.stated.profile
        wanted = {"height": size.height, "size": "force", **profile}
        if (shrink := self._shrink_on_load(size)) > 1:
            loaded = _opened(self.data, self.media_type, fail_on, shrink=shrink).copy_memory()
            return in_eight_bits(loaded.thumbnail_image(size.width, **wanted))
        options = {"option_string": f"[fail_on={fail_on}]", "fail_on": fail_on}  # the second alone reaches no JPEG
        image = pyvips.Image.thumbnail_buffer(self.data, size.width, **options, **wanted)
        if srgb and self.stated.gamma is not None:
            image = with_usual_gamma(image, self.stated.gamma)
        return in_eight_bits(image)

    def _shrink_on_load(self, size: Size) -> int:
        """By how much a JPEG becomes smaller while it is decoded, 1 for all other types."""
        left = min(self.size.width / size.width, self.size.height / size.height) / _LEFT_TO_LANCZOS
        return next((each for each in _SHRINKS if each <= left and self.media_type == "image/jpeg"), 1)

    @property
    def _has_profile(self) -> bool:
        return not self.is_srgb and self.stated.gamma is None

    def frame_strip(self, *, srgb: bool = True) -> pyvips.Image:
        """All frames in their size, one above the other; in sRGB, or in the numbers of the profile that they have."""
        strip = _opened(self.data, self.media_type, n=-1)
        return strip.icc_transform("srgb", embedded=True) if srgb and self._has_profile else strip


def read_header(source: int, media_type: str) -> Picture:
    """What the header of an open file says. Raises `Refused`."""
    if media_type not in _LOADERS:
        raise Refused("unreadable")
    try:
        data = mmap.mmap(source, 0, prot=mmap.PROT_READ)
        image = _opened(data, media_type)
    except (pyvips.Error, ValueError, OSError) as error:
        raise Refused("unreadable") from error
    width, height, frames = image.width, image.get_page_height(), image.get_n_pages()
    if width * height > MAX_PIXELS:
        raise Refused("pixels", (width, height), MAX_PIXELS)
    with os.fdopen(os.dup(source), "rb") as file:
        if media_type in WHOLE and not WHOLE[media_type](file):
            raise Refused("unreadable")
        if media_type == "image/apng":
            frames = apng_frames(file) or frames
    orientation = _value(image, "orientation", 1)
    size = Size(height, width) if orientation in _SWAPPED else Size(width, height)
    is_animation = media_type in _ANIMATED and frames > 1 and width * height * frames <= MAX_PIXELS
    is_cmyk, profile = image.interpretation == "cmyk", _value(image, "icc-profile-data", b"")
    stated = stated_colour(data[:HEAD_BYTES], media_type)
    says_srgb = stated == Stated() if not profile else is_srgb_profile(profile)
    return Picture(
        data,
        media_type,
        size,
        orientation,
        frames,
        is_animation,
        _value(image, "delay", []) if is_animation else [],
        _value(image, "loop", 0),
        is_cmyk,
        not is_cmyk and says_srgb,
        stated,
    )


def patiently(make: Callable[[str], T]) -> T:
    """What `make` makes with the strictest `fail_on` that a whole picture passes. Raises `Refused`.

    Some telephones write photographs that libjpeg warns of (see `decode`): a warning that no data is lost is let pass.
    """
    try:
        return make("warning")
    except pyvips.Error as error:
        if has_lost_data(error):
            raise Refused("unreadable") from error
    try:
        return make("error")
    except pyvips.Error as error:
        raise Refused("unreadable") from error


def in_eight_bits(image: pyvips.Image) -> pyvips.Image:
    """Grey stays grey, everything else is red, green and blue; alpha stays."""
    wanted = "b-w" if image.interpretation in {"b-w", "grey16"} else "srgb"
    image = image if image.interpretation == wanted else image.colourspace(wanted)
    return image if image.format == "uchar" else image.cast("uchar")


def _opened(data: mmap.mmap | bytes, media_type: str, fail_on: str = "error", **options: object) -> pyvips.Image:
    loader = getattr(pyvips.Image, _LOADERS[media_type])
    return loader(data, access="sequential", fail_on=fail_on, **options)


def _value(image: pyvips.Image, name: str, otherwise: Any) -> Any:
    """What the header says under a name; `otherwise` where it says nothing."""
    return image.get(name) if image.get_typeof(name) else otherwise
