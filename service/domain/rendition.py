"""Renditions: what presets and normalisation make of a picture, as values.

A rendition is other bytes of the same picture, made here; a preset names how. Nothing else than presets can be asked
for, so that nobody outside decides what is computed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

RESERVED_NAMES: Final = frozenset({"meta", "why"})
"""Names that no preset may have: `/blobs/{sha256}/…` has them already."""


class Format(StrEnum):
    """How a picture is encoded. `ORIGINAL` stands for the parent's own in a preset, and is resolved by `offered`."""

    AVIF = "avif"
    WEBP = "webp"
    JPEG = "jpeg"
    PNG = "png"
    GIF = "gif"
    ORIGINAL = "original"

    @property
    def media_type(self) -> str:
        """Such as `image/jpeg`."""
        return f"image/{self}"

    @property
    def extension(self) -> str:
        """The one extension that asks for it in a path, without the dot."""
        return "jpg" if self is Format.JPEG else str(self)

    @property
    def has_alpha(self) -> bool:
        """Whether a picture may be transparent in it."""
        return self is not Format.JPEG

    @property
    def has_frames(self) -> bool:
        """Whether an animation stays one in it."""
        return self in {Format.WEBP, Format.GIF}


class Fit(StrEnum):
    """How a picture meets the box of a preset, after CSS `object-fit`.

    `COVER` fills the box and cuts what stands out, at the centre. `CONTAIN` is whole inside the box, with margins that
    make it exactly the box. `INSIDE` is whole inside the box, and no larger than the picture becomes.
    """

    COVER = "cover"
    CONTAIN = "contain"
    INSIDE = "inside"


class Colour(StrEnum):
    """What becomes of an ICC profile: `KEEP` keeps pixels and profile, `SRGB` converts and lets the profile go."""

    KEEP = "keep"
    SRGB = "srgb"


DEFAULT_QUALITY: Final[Mapping[Format, int]] = MappingProxyType({Format.AVIF: 75, Format.WEBP: 86, Format.JPEG: 88})
"""Of presets, 1 to 100, each on its encoder's own scale; PNG and GIF have none."""

SMALL_PIXELS: Final = 320 * 320
SMALL_QUALITY: Final[Mapping[Format, int]] = MappingProxyType({Format.AVIF: 84, Format.WEBP: 92, Format.JPEG: 93})
"""Of renditions of at most `SMALL_PIXELS`: all of a photograph's detail is in few pixels, and more costs few bytes."""

ARCHIVE_QUALITY: Final[Mapping[Format, int]] = MappingProxyType({Format.AVIF: 85, Format.WEBP: 92, Format.JPEG: 93})
"""Of normalised pictures, from which presets are made again."""

DEFAULT_EFFORT: Final = 4

_ORIGINALS: Final = {
    "image/jpeg": Format.JPEG,
    "image/png": Format.PNG,
    "image/apng": Format.PNG,
    "image/webp": Format.WEBP,
    "image/gif": Format.GIF,
    "image/avif": Format.AVIF,
    "video/mp4": Format.JPEG,
    "video/webm": Format.JPEG,
}

PICTURE_TYPES: Final = tuple(each for each in _ORIGINALS if each.startswith("image/"))
"""Pictures that are read here, all others are bytes."""


@dataclass(frozen=True, slots=True)
class Animation:
    """How much of an animation stays one: an animation beyond either limit gives its first frame.

    `max_duration_ms` is milliseconds of one round, None for no limit. One frame means: never animated.
    """

    max_frames: int = 1
    max_duration_ms: int | None = None

    def admits(self, frames: int, duration_ms: int) -> bool:
        """Whether an animation of so many frames and milliseconds stays one."""
        return frames <= self.max_frames and (self.max_duration_ms is None or duration_ms <= self.max_duration_ms)


@dataclass(frozen=True, slots=True)
class Preset:
    """One named rendition, as the policy file states it.

    `width` and `height` are the box in pixels; with `INSIDE` one of them may be None, which leaves that edge free.
    `formats` are what is offered, best first. `qualities` are 1 to 100 where they differ from `DEFAULT_QUALITY`;
    `effort` is 0 (fast) to 9 (small). Without `enlarge` no pixel is made up: a picture smaller than the box stays as
    large as it is, cut or framed to the box's proportions where the fit says so.
    """

    name: str
    width: int | None
    height: int | None
    fit: Fit = Fit.INSIDE
    formats: tuple[Format, ...] = (Format.AVIF, Format.WEBP, Format.ORIGINAL)
    qualities: tuple[tuple[Format, int], ...] = ()
    effort: int = DEFAULT_EFFORT
    enlarge: bool = False
    animation: Animation = field(default_factory=Animation)

    def quality(self, of: Format, pixels: int = SMALL_PIXELS + 1) -> int | None:
        """The quality of a format in a rendition of so many pixels, None where it has none."""
        usual = SMALL_QUALITY if pixels <= SMALL_PIXELS else DEFAULT_QUALITY
        return dict(self.qualities).get(of, usual.get(of))

    def definition(self, engine: str) -> str:
        """What stored renditions are told stale by: 16 hexadecimal digits of everything but the name, and the engine.

        Stable over processes, releases of Python and the order in which formats' qualities are written.
        """
        stated = asdict(self) | {
            "qualities": {each: (self.quality(each, 1), self.quality(each)) for each in DEFAULT_QUALITY}
        }
        del stated["name"]
        return _fingerprint("preset", stated, engine)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What a picture is made to comply with when it is attached; its orientation is always applied.

    `max_edge` is pixels of the longer edge, None for no limit. `strip` lets go of everything but the picture: EXIF
    (place, owner, serial numbers), XMP, IPTC, comments, thumbnails, gain maps, and whatever nobody recognises.
    `format` `ORIGINAL` keeps the one it has.
    """

    max_edge: int | None = None
    strip: bool = True
    colour: Colour = Colour.SRGB
    format: Format = Format.ORIGINAL
    animation: Animation = field(default_factory=lambda: Animation(max_frames=1000))

    def definition(self, engine: str) -> str:
        """What says whether the same picture would become the same bytes: 16 hexadecimal digits."""
        return _fingerprint("normalisation", asdict(self) | {"qualities": dict(ARCHIVE_QUALITY)}, engine)


def original_format(media_type: str) -> Format | None:
    """The format that `ORIGINAL` means for a parent: that of a film is its poster's; None where nothing can be made."""
    return _ORIGINALS.get(media_type)


def offered(preset: Preset, media_type: str) -> tuple[Format, ...]:
    """What the preset offers of a parent of this type, best first, each once; empty where nothing can be made."""
    original = original_format(media_type)
    if original is None:
        return ()
    return tuple(dict.fromkeys(original if each is Format.ORIGINAL else each for each in preset.formats))


def _fingerprint(kind: str, stated: Mapping[str, object], engine: str) -> str:
    text = json.dumps([kind, stated, engine], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
