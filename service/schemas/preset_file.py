"""Presets as the policy file states them: tables `[presets.<name>]`; see `policy_file`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from service.domain.rendition import RESERVED_NAMES, Animation, Colour, Fit, Format, Normalisation, Preset

_END = r"$(?!\n)"  # in JSON Schema `$` is the end, in Python it is also the line feed before it
_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}

Unset = msgspec.UnsetType
PresetName = Annotated[
    str, Meta(pattern=rf"^(?!({'|'.join(sorted(RESERVED_NAMES))}){_END})[a-z][a-z0-9_-]{{0,31}}{_END}")
]
PresetNames = Annotated[
    list[PresetName], Meta(max_length=32, description='a list of names of presets, such as ["thumb", "small"]')
]
Side = Annotated[int, Meta(ge=1, le=16_383, description="a number of pixels, 1 to 16383")]
Quality = Annotated[int, Meta(ge=1, le=100, description="a number from 1 to 100")]
Effort = Annotated[int, Meta(ge=0, le=9, description="a number from 0 (fast) to 9 (small)")]
Frames = Annotated[int, Meta(ge=1, le=100_000, description="a number of frames, 1 to 100000")]
Duration = Annotated[
    str, Meta(pattern=f"^[1-9][0-9]{{0,8}}(ms|s|m|h){_END}", description='text such as "90s", "10m" or "2h"')
]
Flag = Annotated[bool, Meta(description="true or false")]
FitWord = Annotated[Literal["cover", "contain", "inside"], Meta(description='"cover", "contain" or "inside"')]
FormatWord = Literal["avif", "webp", "jpeg", "png", "gif", "original"]
FormatChoice = Annotated[
    FormatWord, Meta(description='"original", or one of "avif", "webp", "jpeg", "png", "gif"')
]  # fmt: skip
Formats = Annotated[
    list[FormatWord],
    Meta(min_length=1, max_length=6, description='a list of "avif", "webp", "jpeg", "png", "gif" and "original"'),
]
ColourWord = Annotated[Literal["keep", "srgb"], Meta(description='"srgb" or "keep"')]


_FORMATS: tuple[FormatWord, ...] = ("avif", "webp", "original")


class QualityTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Qualities of the formats that lose something; what is not there is as usual."""

    avif: Quality | Unset = msgspec.UNSET
    webp: Quality | Unset = msgspec.UNSET
    jpeg: Quality | Unset = msgspec.UNSET


Qualities = Annotated[
    QualityTable, Meta(description="a table such as { avif = 75, webp = 86, jpeg = 88 }, each from 1 to 100")
]


class PresetTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One table `[presets.<name>]`: a box of at least one edge, and what fills it."""

    width: Side | Unset = msgspec.UNSET
    height: Side | Unset = msgspec.UNSET
    fit: FitWord = "inside"
    formats: Formats = msgspec.field(default_factory=lambda: [*_FORMATS])
    quality: Qualities | Unset = msgspec.UNSET
    effort: Effort = 4
    enlarge: Flag = False
    max_frames: Frames = 1
    max_animation: Duration | Unset = msgspec.UNSET


PRESET_RULES = [
    {"anyOf": [{"required": ["width"]}, {"required": ["height"]}]},
    {
        "if": {"properties": {"fit": {"enum": ["cover", "contain"]}}, "required": ["fit"]},
        "then": {"required": ["width", "height"]},
    },
]
"""What JSON Schema says of members together."""


def preset_mistake(table: dict[str, object]) -> tuple[str, str] | None:
    """Of members that are right each for itself: which one is wrong beside the others, and what is."""
    if "width" not in table and "height" not in table:
        return "width", "lacks width and height; one of them must be there"
    if table.get("fit", "inside") != "inside" and not {"width", "height"} <= table.keys():
        return "fit", f'has the fit "{table["fit"]}", which needs both width and height'
    return None


def preset_of(name: str, table: PresetTable) -> Preset:
    """The domain's value."""
    qualities = {} if isinstance(table.quality, Unset) else msgspec.structs.asdict(table.quality)
    return Preset(
        name,
        table.width or None,
        table.height or None,
        Fit(table.fit),
        tuple(dict.fromkeys(Format(each) for each in table.formats)),
        tuple((Format(each), quality) for each, quality in qualities.items() if quality is not msgspec.UNSET),
        table.effort,
        table.enlarge,
        Animation(table.max_frames, milliseconds(table.max_animation)),
    )


class NormalisingTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a policy says about pictures that are made to comply when they are attached."""

    max_edge: Annotated[int, Meta(ge=1, le=1_000_000, description="a number of pixels, 1 to 1000000")] | Unset = (
        msgspec.UNSET
    )
    oversize: Annotated[Literal["reject", "downscale"], Meta(description='"reject" or "downscale"')] = "reject"
    normalise: Flag | Unset = msgspec.UNSET
    strip: Flag = True
    colour: ColourWord = "srgb"
    format: FormatChoice = "original"
    max_frames: Frames = 1000
    max_animation: Duration | Unset = msgspec.UNSET
    keep_original: Flag = True


_DOWNSCALES = {"properties": {"oversize": {"const": "downscale"}}, "required": ["oversize"]}
_NORMALISES = {"properties": {"normalise": {"const": True}}, "required": ["normalise"]}
_OF_NORMALISING = ("strip", "colour", "format", "max_frames", "max_animation", "keep_original")
NORMALISING_RULES = [
    {
        "if": _DOWNSCALES,
        "then": {"required": ["max_edge"], "properties": {"normalise": {"const": True}}},
    },
    {
        "if": {"not": {"anyOf": [_DOWNSCALES, _NORMALISES]}},
        "then": {"properties": dict.fromkeys(_OF_NORMALISING, False)},
    },
]
"""What JSON Schema says of members together."""


def normalising_mistake(table: dict[str, object]) -> tuple[str, str] | None:
    """Of members that are right each for itself: which one is wrong beside the others, and what is.

    What has no effect is a mistake, too: a role that says `strip` and does not normalise would show everything.
    """
    if table.get("oversize") != "downscale":
        idle = next((each for each in _OF_NORMALISING if each in table), None)
        return None if table.get("normalise") or idle is None else (idle, "has no effect without normalise = true")
    if "max_edge" not in table:
        return "oversize", 'is "downscale" without a max_edge to scale down to'
    if table.get("normalise") is False:
        return "normalise", 'contradicts oversize, "downscale"'
    return None


def normalisation_of(table: NormalisingTable) -> Normalisation | None:
    """The domain's value, None where pictures are left as they are sent."""
    downscales = table.oversize == "downscale"
    if not (downscales if isinstance(table.normalise, Unset) else table.normalise):
        return None
    return Normalisation(
        (table.max_edge or None) if downscales else None,
        table.strip,
        Colour(table.colour),
        Format(table.format),
        Animation(table.max_frames, milliseconds(table.max_animation)),
    )


def milliseconds(value: str | Unset) -> int | None:
    """A duration in milliseconds, None where there is none."""
    if not value:
        return None
    digits = value.rstrip("msh")
    return int(digits) * _MILLISECONDS[value.removeprefix(digits)]
