"""What the numbers of pixels mean: by a profile, or by what a header says in its stead; pure but for profiles.

A profile is judged by what it does, not by its name: there are wide ones that speak of sRGB, whose curve they have.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pyvips

_SRGB_GAMMA, _LINEAR_PART = 45_455, 0.0031308
_P3_PRIMARIES, _SRGB_TRANSFERS = 12, {1, 6, 13, 14, 15}
_PATCHES = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (128, 128, 128), (40, 40, 40), (200, 120, 60)]
_SAME = 3
"""Of 255: profiles of sRGB differ by so much, by how their makers rounded."""


@dataclass(frozen=True, slots=True)
class Stated:
    """What a header says of colours without a profile: the profile of libvips that means it, or the exponent of light.

    `gamma` turns a number into light, None where it is that of sRGB.
    """

    profile: str | None = None
    gamma: float | None = None


def is_srgb_profile(profile: bytes) -> bool:
    """Whether the profile shows the same as sRGB does; False for one that cannot be read."""
    patches = [(pyvips.Image.black(1, 1, bands=3) + list(each)).cast("uchar") for each in _PATCHES]
    strip = pyvips.Image.arrayjoin(patches).copy(interpretation="srgb")
    strip.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    try:
        shown = strip.icc_transform("srgb", embedded=True, intent="relative")
        return shown.bands == strip.bands and bool((shown.cast("short") - strip).abs().max() <= _SAME)
    except pyvips.Error:
        return False


def stated_colour(head: bytes, media_type: str) -> Stated:
    """What `head`, the beginning of the file, says; PNG third edition §4.3 has the order in which it counts."""
    if media_type not in {"image/png", "image/apng"}:
        return Stated()
    said = dict(_chunks_before_pixels(head))
    if len(said.get(b"cICP", b"")) == 4:
        primaries, transfer = said[b"cICP"][:2]
        return Stated(profile="p3" if primaries == _P3_PRIMARIES and transfer in _SRGB_TRANSFERS else None)
    if said.keys() & {b"iCCP", b"sRGB"} or len(said.get(b"gAMA", b"")) != 4:
        return Stated()
    gamma = struct.unpack(">I", said[b"gAMA"])[0]
    is_usual = not 10_000 <= gamma <= 1_000_000 or abs(gamma - _SRGB_GAMMA) < _SRGB_GAMMA // 20
    return Stated() if is_usual else Stated(gamma=100_000 / gamma)


def with_usual_gamma(image: pyvips.Image, gamma: float) -> pyvips.Image:
    """The picture in the steps of sRGB, of 8 or 16 bits as it was; alpha stays."""
    most = 65_535 if image.format == "ushort" else 255
    light = (pyvips.Image.identity(ushort=most > 255) / most) ** gamma
    steps = (light <= _LINEAR_PART).ifthenelse(light * 12.92, light ** (1 / 2.4) * 1.055 - 0.055) * most
    table = steps.rint().cast(image.format)
    if not image.hasalpha():
        return image.maplut(table)
    colours = image.extract_band(0, n=image.bands - 1).maplut(table)
    return colours.bandjoin(image[image.bands - 1]).copy(interpretation=image.interpretation)


def _chunks_before_pixels(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 8 <= len(head) and (kind := head[at + 4 : at + 8]) != b"IDAT":
        end = at + 8 + int.from_bytes(head[at : at + 4], "big")
        yield kind, head[at + 8 : end]
        at = end + 4
