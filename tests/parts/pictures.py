"""Test cards in every form that a picture can have, how alike two pictures are, and a folder to keep them in."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import pyvips

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 160, 40), (30, 50, 210), (230, 210, 40)
WIDTH, HEIGHT = 96, 64
Colour = tuple[int, ...]

_TURNS: dict[int, Callable[[pyvips.Image], pyvips.Image]] = {
    1: lambda image: image,
    2: lambda image: image.fliphor(),
    3: lambda image: image.rot180(),
    4: lambda image: image.flipver(),
    5: lambda image: image.rot270().flipver(),
    6: lambda image: image.rot270(),
    7: lambda image: image.rot90().flipver(),
    8: lambda image: image.rot90(),
}
"""How an upright picture is stored, so that the orientation turns it back."""


def card(width: int = WIDTH, height: int = HEIGHT) -> pyvips.Image:
    """Red and green above, blue and yellow below."""
    quarters = [pyvips.Image.black(1, 1, bands=3) + list(colour) for colour in (RED, GREEN, BLUE, YELLOW)]
    image = pyvips.Image.arrayjoin(quarters, across=2).cast("uchar").copy(interpretation="srgb")
    return image.resize(width / 2, vscale=height / 2, kernel="nearest")


def corners(image: pyvips.Image) -> list[Colour]:
    """The colours in the middle of each quarter."""
    width, height = image.width, image.get_page_height()
    places = [(x, y) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return [tuple(round(value) for value in image.getpoint(x, y)) for x, y in places]


def is_near(one: Colour, other: Colour, by: int = 24) -> bool:
    """Whether two colours look the same."""
    return len(one) == len(other) and all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


def opened(content: bytes) -> pyvips.Image:
    """All frames of a file that was made here, in sRGB."""
    image = pyvips.Image.new_from_buffer(content, "")
    return pyvips.Image.new_from_buffer(content, "", n=-1) if image.get_n_pages() > 1 else image


def stored(orientation: int) -> pyvips.Image:
    """The card as a camera held in that way stores it."""
    image = _TURNS[orientation](card()).copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return image


def secretive(image: pyvips.Image) -> pyvips.Image:
    """With a place, an owner, a serial number, XMP and a comment."""
    image = image.copy()
    for name, value in {
        "exif-ifd3-GPSLatitude": "52/1 30/1 0/1 (52.5, Rational, 3 components, 24 bytes)",
        "exif-ifd3-GPSLongitude": "13/1 24/1 0/1 (13.4, Rational, 3 components, 24 bytes)",
        "exif-ifd0-Artist": "SECRET-OWNER (SECRET-OWNER, ASCII, 13 components, 13 bytes)",
        "exif-ifd2-BodySerialNumber": "SECRET-SERIAL (SECRET-SERIAL, ASCII, 14 components, 14 bytes)",
        "jpeg-comment": "SECRET-COMMENT",
        "png-comment-0-Comment": "SECRET-COMMENT",
    }.items():
        image.set_type(pyvips.GValue.gstr_type, name, value)
    image.set_type(pyvips.GValue.blob_type, "xmp-data", b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>SECRET-XMP</x:xmpmeta>")
    return image


def animation(frames: int = 4, delay: int = 100, width: int = 48, height: int = 32) -> pyvips.Image:
    """The card, each frame in the next colours; `delay` is milliseconds."""
    pages = [card(width, height).rot180() if number % 2 else card(width, height) for number in range(frames)]
    strip = pyvips.Image.arrayjoin(pages, across=1).copy(interpretation="srgb")
    strip.set_type(pyvips.GValue.gint_type, "page-height", height)
    strip.set_type(pyvips.GValue.array_int_type, "delay", [delay] * frames)
    return strip


def with_profile(name: str) -> pyvips.Image:
    """The card in the colours of a profile that libvips brings along: p3, cmyk; it looks as ever."""
    image = card()
    return image.icc_transform(name, input_profile="srgb", embedded=False)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def saved(image: pyvips.Image, suffix: str, **options: Any) -> bytes:
    """As a file."""
    return bytes(image.write_to_buffer(suffix, **options))


@cache
def photograph(width: int = 1600, height: int = 1200, seed: int = 1) -> pyvips.Image:
    """Like a photograph: noise of all scales, as strong as it is large, edges through it, and grain.

    One of more than 2000 pixels is drawn at half its size, as a telephone draws most of its pixels.
    """
    if width > 2000:
        drawn = photograph(width // 2, height // 2, seed).resize(2, kernel="cubic")
        grain = pyvips.Image.gaussnoise(width, height, mean=0, sigma=1, seed=seed)
        return (drawn + grain).cast("uchar").copy(interpretation="srgb").copy_memory()

    def clouds(number: int) -> pyvips.Image:
        layers = []
        for octave in range(1, 9):
            small = [max(2, edge >> octave) + 2 for edge in (width, height)]
            noise = pyvips.Image.gaussnoise(*small, mean=0, sigma=0.3 * 1.9**octave, seed=100 * number + octave)
            layers.append(noise.resize(1 << octave, kernel="linear").crop(0, 0, width, height))
        return pyvips.Image.sum(layers).copy_memory()

    places = pyvips.Image.xyz(width, height)
    light = clouds(seed)
    slope = places[0] * 0.7 + places[1] + light
    shaded = light + 128 + (slope % (height / 3) < height / 6).ifthenelse(35, -15)
    grain = pyvips.Image.gaussnoise(width, height, mean=0, sigma=1, seed=seed)
    red, blue = clouds(seed + 7) * 0.35, clouds(seed + 13) * 0.35
    bands = [shaded + red + grain, shaded + grain, shaded - red + blue + grain]
    return bands[0].bandjoin(bands[1:]).cast("uchar").copy(interpretation="srgb").copy_memory()


def likeness(one: pyvips.Image, other: pyvips.Image) -> float:
    """SSIM of the luminances (Wang et al. 2004: Gaussian of 1.5 pixels, K1 0.01, K2 0.03), the mean over all pixels."""

    def blurred(image: pyvips.Image) -> pyvips.Image:
        return image.gaussblur(1.5, min_ampl=0.01, precision="float")

    a, b = (image.colourspace("b-w")[0].cast("float") for image in (one, other))
    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a * mean_a, blurred(b * b) - mean_b * mean_b
    together = blurred(a * b) - mean_a * mean_b
    c1, c2 = 2.55**2, 7.65**2
    above = (mean_a * mean_b * 2 + c1) * (together * 2 + c2)
    return float((above / ((mean_a * mean_a + mean_b * mean_b + c1) * (var_a + var_b + c2))).avg())
