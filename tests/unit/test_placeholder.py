"""ThumbHash, decoded as its author's reference implementation does; dominant colours."""

from __future__ import annotations

import base64
from itertools import product
from math import cos, pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.placeholder import MAX_EDGE, MIN_EDGE, dominant_colour, placeholder, thumbhash

RED, GREEN, BLUE, GREY = (200, 40, 30, 255), (20, 180, 60, 255), (30, 60, 200, 255), (128, 128, 128, 255)
CLEAR = (0, 0, 0, 0)


def picture(width: int, height: int, *quarters: tuple[int, int, int, int]) -> bytes:
    """Four quarters: top left, top right, bottom left, bottom right."""
    return b"".join(
        bytes(quarters[(2 * (2 * y >= height) + (2 * x >= width)) % len(quarters)])
        for y, x in product(range(height), range(width))
    )


def decoded(data: bytes, x: float, y: float) -> tuple[float, ...]:
    """The colour at a place, each from 0 to 1, as thumbHashToRGBA of the reference implementation."""
    first, second = int.from_bytes(data[:3], "little"), int.from_bytes(data[3:5], "little")
    light, yellow, red = (first & 63) / 63, (first >> 6 & 63) / 31.5 - 1, (first >> 12 & 63) / 31.5 - 1
    scales = ((first >> 18 & 31) / 31, (second >> 3 & 63) / 63 * 1.25, (second >> 9 & 63) / 63 * 1.25)
    has_alpha, is_landscape = first >> 23, second >> 15
    longest = 5 if has_alpha else 7
    nx, ny = (longest, second & 7) if is_landscape else (second & 7, longest)
    alpha = (data[5] & 15) / 15 if has_alpha else 1.0
    nibbles = [value for byte in data[6 if has_alpha else 5 :] for value in (byte & 15, byte >> 4)]
    sizes = [(max(3, nx), max(3, ny)), (3, 3), (3, 3), *([(5, 5)] if has_alpha else [])]
    constants = [light, yellow, red, alpha]
    all_scales = (*scales, (data[5] >> 4) / 15 if has_alpha else 0)
    found = []
    for (wide, high), constant, scale in zip(sizes, constants, all_scales, strict=False):
        value = constant
        for cy, cx in product(range(high), range(wide)):
            if (cx or cy) and cx * high < wide * (high - cy):
                wave = (nibbles.pop(0) / 7.5 - 1) * scale
                value += 2 * wave * cos(pi * cx * x) * cos(pi * cy * y)
        found.append(value)
    light, yellow, red = found[:3]
    blue = light - 2 / 3 * yellow
    r = (3 * light - blue + red) / 2
    return r, r - red, blue, found[3] if has_alpha else 1.0


@pytest.mark.parametrize(("width", "height"), [(48, 48), (48, 32), (32, 48), (48, 12), (100, 100), (8, 8), (48, 8)])
def test_a_plain_picture_is_its_colour(width: int, height: int) -> None:
    data = thumbhash(width, height, picture(width, height, RED))
    assert decoded(data, 0.5, 0.5)[:3] == pytest.approx([value / 255 for value in RED[:3]], abs=0.05)
    assert 5 <= len(data) <= 25


def test_quarters_stay_where_they_are() -> None:
    data = thumbhash(48, 48, picture(48, 48, RED, GREEN, BLUE, GREY))
    corners = [decoded(data, x, y) for y in (0.2, 0.8) for x in (0.2, 0.8)]
    assert [corner.index(max(corner[:3])) for corner in corners[:3]] == [0, 1, 2]
    assert max(corners[3][:3]) - min(corners[3][:3]) < 0.3


def test_what_is_transparent_has_its_place_and_takes_no_colour_with_it() -> None:
    data = thumbhash(40, 40, picture(40, 40, RED, CLEAR))
    assert data[2] >> 7
    assert decoded(data, 0.2, 0.5)[3] > 0.7
    assert decoded(data, 0.8, 0.5)[3] < 0.3
    assert thumbhash(4, 4, bytes(64))[2] >> 7


def test_proportions_are_in_the_hash() -> None:
    wide, high = (thumbhash(*size, picture(*size, RED)) for size in ((96, 24), (24, 96)))
    assert (wide[4] >> 7, high[4] >> 7) == (1, 0)
    assert wide[3] & 7 == high[3] & 7 == 2


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_any_pixels_have_a_hash_of_few_bytes_and_a_colour(width: int, height: int, data: st.DataObject) -> None:
    pixels = data.draw(st.binary(min_size=4 * width * height, max_size=4 * width * height))
    found = placeholder(width, height, pixels, width / height)
    assert len(base64.b64decode(found.thumbhash, validate=True)) <= 30
    assert found == placeholder(width, height, pixels, width / height)
    assert int(found.colour.removeprefix("#"), 16) < 1 << 24
    assert len(found.colour) == 7


def test_the_dominant_colour_is_the_most_frequent_one() -> None:
    assert dominant_colour(bytes(GREY) * 3 + bytes(BLUE) * 5 + bytes(RED) * 4) == "#1e3cc8"
    assert dominant_colour(bytes((200, 40, 30, 60)) * 3 + bytes(BLUE)) == "#1e3cc8"
    assert dominant_colour(bytes((32, 61, 202, 255)) * 2 + bytes((34, 63, 204, 255)) * 2) == "#213ecb"
    assert dominant_colour(b"") == dominant_colour(bytes(CLEAR) * 9) == "#ffffff"


def test_the_limit_of_the_format_is_kept_in_mind() -> None:
    assert (MIN_EDGE, MAX_EDGE) == (8, 100)
