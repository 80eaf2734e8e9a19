"""What stands in a picture's place while it loads: ThumbHash, dominant colour, aspect; pure.

ThumbHash (https://evanw.github.io/thumbhash/): the lowest frequencies of luminance, two colour differences and alpha in
about 25 bytes, after the reference implementation by its author, with the transform done along rows, then columns.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import cos, floor, pi
from operator import mul

MAX_EDGE = 100
"""Pixels of an edge that ThumbHash takes at most."""

MIN_EDGE = 8
"""And at least: with fewer its waves cannot be told from the mean."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """`thumbhash` is base64 with padding, `colour` `#rrggbb`, `aspect` width over height, its orientation applied."""

    thumbhash: str
    colour: str
    aspect: float


def placeholder(width: int, height: int, pixels: bytes, aspect: float) -> Placeholder:
    """Of the pixels of a small picture: red, green, blue, alpha, row by row; `MIN_EDGE` to `MAX_EDGE` each way."""
    hashed = base64.b64encode(thumbhash(width, height, pixels)).decode()
    return Placeholder(hashed, dominant_colour(pixels), round(aspect, 4))


def dominant_colour(pixels: bytes) -> str:
    """The mean of the most frequent of 4096 colours, by how opaque each pixel is; what is transparent is white."""
    weights: Counter[tuple[int, int, int]] = Counter()
    sums: dict[tuple[int, int, int], list[int]] = {}
    for red, green, blue, alpha in _quads(pixels):
        if alpha:
            shade = (red >> 4, green >> 4, blue >> 4)
            weights[shade] += alpha
            total = sums.setdefault(shade, [0, 0, 0])
            total[:] = (total[0] + alpha * red, total[1] + alpha * green, total[2] + alpha * blue)
    if not weights:
        return "#ffffff"
    shade = max(weights, key=lambda each: (weights[each], each))
    return "#" + "".join(f"{_round(total / weights[shade]):02x}" for total in sums[shade])


def thumbhash(width: int, height: int, pixels: bytes) -> bytes:
    """The hash of 5 to 25 bytes."""
    quads = list(_quads(pixels))
    alphas = [alpha / 255 for *_, alpha in quads]
    coverage = sum(alphas)
    means = [sum(quad[band] / 255 * alpha for quad, alpha in zip(quads, alphas, strict=True)) for band in range(3)]
    means = [mean / coverage if coverage else 0.0 for mean in means]
    reds, greens, blues = (
        [means[band] * (1 - alpha) + alpha * quad[band] / 255 for quad, alpha in zip(quads, alphas, strict=True)]
        for band in range(3)
    )
    is_opaque = all(quad[3] == 255 for quad in quads)
    nx, ny = (max(1, _round((7 if is_opaque else 5) * edge / max(width, height))) for edge in (width, height))
    channels = [
        _Channel.of([(red + green + blue) / 3 for red, green, blue in zip(reds, greens, blues, strict=True)],
                    width, (max(3, nx), max(3, ny))),
        _Channel.of([(red + green) / 2 - blue for red, green, blue in zip(reds, greens, blues, strict=True)],
                    width, (3, 3)),
        _Channel.of([red - green for red, green in zip(reds, greens, strict=True)], width, (3, 3)),
    ]  # fmt: skip
    channels += [] if is_opaque else [_Channel.of(alphas, width, (5, 5))]
    return _packed(channels, ny if width > height else nx, is_landscape=width > height)


@dataclass(frozen=True, slots=True)
class _Channel:
    """The constant of a cosine transform, its waves from 0 to 1, and what they were divided by."""

    constant: float
    waves: tuple[float, ...]
    scale: float

    @classmethod
    def of(cls, values: Sequence[float], width: int, count: tuple[int, int]) -> _Channel:
        height = len(values) // width
        rows = [values[at : at + width] for at in range(0, len(values), width)]
        along = [[cos(pi / width * cx * (x + 0.5)) for x in range(width)] for cx in range(count[0])]
        down = [[cos(pi / height * cy * (y + 0.5)) for y in range(height)] for cy in range(count[1])]
        sums = [[sum(map(mul, row, wave)) for row in rows] for wave in along]
        kept = [
            (cx, cy) for cy in range(count[1]) for cx in range(count[0]) if cx * count[1] < count[0] * (count[1] - cy)
        ]
        constant, *waves = (sum(map(mul, sums[cx], down[cy])) / (width * height) for cx, cy in kept)
        scale = max(abs(wave) for wave in waves)
        return cls(constant, tuple(0.5 + 0.5 / scale * wave if scale else wave for wave in waves), scale)


def _packed(channels: Sequence[_Channel], shorter: int, *, is_landscape: bool) -> bytes:
    light, yellow, red = channels[:3]
    is_opaque = len(channels) == 3
    first = _round(63 * light.constant) | _round(31.5 + 31.5 * yellow.constant) << 6
    first |= _round(31.5 + 31.5 * red.constant) << 12 | _round(31 * light.scale) << 18 | (not is_opaque) << 23
    second = shorter | _round(63 * yellow.scale) << 3 | _round(63 * red.scale) << 9 | is_landscape << 15
    head = first.to_bytes(3, "little") + second.to_bytes(2, "little")
    if not is_opaque:
        head += bytes([_round(15 * channels[3].constant) | _round(15 * channels[3].scale) << 4])
    waves = [_round(15 * wave) for channel in channels for wave in channel.waves]
    waves += [0] * (len(waves) % 2)
    return head + bytes(low | high << 4 for low, high in zip(waves[::2], waves[1::2], strict=True))


def _quads(pixels: bytes) -> Iterator[tuple[int, ...]]:
    return zip(pixels[::4], pixels[1::4], pixels[2::4], pixels[3::4], strict=True)


def _round(number: float) -> int:
    """Halves go up, as in the reference implementation."""
    return floor(number + 0.5)
