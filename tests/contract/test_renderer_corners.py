"""Pictures that are easy to show wrong: all of them were looked at, on a contact sheet, and are pinned here."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pyvips

from service.adapters.vips.renderer import VipsRenderer
from service.domain.rendition import Animation, Colour, Format, Normalisation, Preset
from service.ports.renderer import Renderer
from tests.parts.corners import CORNERS, UPRIGHT, clear_gif, film, gif_in_pieces, gif_that_restores, gif_without_delays
from tests.parts.pictures import animation, corners, is_near, opened, saved

pytestmark = pytest.mark.anyio

SMALL = Preset("small", 48, 48)


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    async with contextlib.aclosing(VipsRenderer()) as renderer:
        yield renderer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bytes"


def shows(content: bytes, colours: list[tuple[int, ...]]) -> bool:
    image = opened(content)
    image = image if image.format == "uchar" else image.colourspace("srgb")
    found = [each[:3] if len(each) >= 3 else each[:1] * 3 for each in corners(image)]
    return all(is_near(*pair) for pair in zip(found, colours, strict=True))


@pytest.mark.parametrize("name", CORNERS)
async def test_a_preset_shows_what_the_picture_shows(renderer: Renderer, path: Path, name: str) -> None:
    sample, media_type, colours = CORNERS[name]
    path.write_bytes(sample())
    made = await renderer.render(path, media_type, SMALL, Format.WEBP)
    size = (made.media.width, made.media.height)
    assert size == {"film held upright": (32, 48)}.get(name, (48, 32))
    assert shows(made.content, colours)


@pytest.mark.parametrize("name", [name for name, case in CORNERS.items() if case[1].startswith("image/")])
async def test_a_normalised_picture_shows_it_too_and_complies(renderer: Renderer, path: Path, name: str) -> None:
    sample, media_type, colours = CORNERS[name]
    path.write_bytes(sample())
    for rules in (Normalisation(), Normalisation(max_edge=80)):
        made = await renderer.normalise(path, media_type, rules)
        if made is not None:
            assert made.media.media_type == media_type
            assert shows(made.content, colours)
            other = path.with_name("normal")
            other.write_bytes(made.content)
            assert await renderer.normalise(other, media_type, rules) is None


async def test_what_only_code_points_tell_stays_told_where_colours_are_kept(renderer: Renderer, path: Path) -> None:
    sample, media_type, _ = CORNERS["png in p3 by code points"]
    path.write_bytes(sample())
    assert await renderer.normalise(path, media_type, Normalisation(colour=Colour.KEEP)) is None


async def test_frames_are_those_of_a_browser_and_alike_ones_are_joined(renderer: Renderer, path: Path) -> None:
    preset = replace(SMALL, animation=Animation(10))
    for sample, frames in ((gif_in_pieces, 1), (gif_that_restores, 3), (gif_without_delays, 4)):
        path.write_bytes(sample())
        for chosen in (Format.GIF, Format.WEBP):
            made = await renderer.render(path, "image/gif", preset, chosen)
            image = opened(made.content)
            assert made.media.frames == image.get_n_pages() == frames
            assert frames == 1 or image.get("loop") == 4
            last = image.pagesplit()[-1 if frames != 4 else -2]
            assert all(is_near(found[:3], each) for found, each in zip(corners(last), UPRIGHT, strict=True))


async def test_a_gif_without_delays_is_measured_with_those_of_browsers(renderer: Renderer, path: Path) -> None:
    path.write_bytes(gif_without_delays())
    for limit, frames in ((400, 4), (399, 1)):
        preset = replace(SMALL, animation=Animation(10, limit))
        assert (await renderer.render(path, "image/gif", preset, Format.WEBP)).media.frames == frames


async def test_what_is_clear_in_a_gif_stays_clear(renderer: Renderer, path: Path) -> None:
    path.write_bytes(clear_gif())
    for chosen in (Format.WEBP, Format.PNG, Format.AVIF, Format.GIF):
        image = opened((await renderer.render(path, "image/gif", SMALL, chosen)).content)
        assert image.getpoint(36, 8)[3] <= 2, chosen
        assert image.getpoint(12, 8)[3] >= 253, chosen
    flat = opened((await renderer.render(path, "image/gif", SMALL, Format.JPEG)).content)
    assert is_near(tuple(round(each) for each in flat.getpoint(36, 8)), (255, 255, 255))


async def test_a_poster_tells_nothing_of_the_place_of_its_film(renderer: Renderer, path: Path) -> None:
    for codec, container, media_type in (("libx264", "mp4", "video/mp4"), ("libvpx", "webm", "video/webm")):
        path.write_bytes(film(codec, container, told={"title": "SECRET", "location": "+52.5200+013.4050/"}))
        assert b"SECRET" in path.read_bytes()
        for chosen in (Format.JPEG, Format.WEBP, Format.AVIF):
            content = (await renderer.render(path, media_type, SMALL, chosen)).content
            assert not [each for each in (b"SECRET", b"52.52", b"Exif", b"xmp") if each in content]


async def test_an_animation_with_a_profile_shows_its_colours_in_srgb(renderer: Renderer, path: Path) -> None:
    wide = animation(width=96, height=64).icc_transform("p3", input_profile="srgb", embedded=False).copy()
    wide.set_type(pyvips.GValue.gint_type, "page-height", 64)
    path.write_bytes(saved(wide, ".webp", lossless=True))
    made = await renderer.normalise(path, "image/webp", Normalisation())
    moving = await renderer.render(path, "image/webp", replace(SMALL, animation=Animation(99)), Format.WEBP)
    assert made is not None
    for content in (made.content, moving.content):
        assert opened(content).get_n_pages() == 4
        assert shows(content, UPRIGHT)
    kept = await renderer.normalise(path, "image/webp", Normalisation(max_edge=48, colour=Colour.KEEP))
    assert kept is not None
    assert opened(kept.content).get_typeof("icc-profile-data")
