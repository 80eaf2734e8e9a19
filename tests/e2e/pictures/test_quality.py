"""Photographs, in all usual sizes: as good as Lanczos makes them, and the same bytes wherever made.

Real ones come with Debian's mate-backgrounds; FOLDER is where it puts them.
"""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import pyvips

from service.adapters.vips.renderer import VipsRenderer
from service.domain.rendition import Format, Normalisation, Preset
from tests.parts import pictures
from tests.parts.pictures import likeness, opened, saved

pytestmark = pytest.mark.anyio

SHOWN = (Format.JPEG, Format.WEBP, Format.AVIF)


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[VipsRenderer]:
    async with contextlib.aclosing(VipsRenderer()) as renderer:
        yield renderer


@pytest.fixture(scope="module", params=[1, 2])
def photograph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 megapixels, as a telephone stores them."""
    path = tmp_path_factory.mktemp("photograph") / str(request.param)
    path.write_bytes(saved(pictures.photograph(4000, 3000, request.param), ".jpg", Q=92))
    return path


@pytest.fixture(scope="module")
def whole(photograph: Path) -> pyvips.Image:
    return opened(photograph.read_bytes()).copy_memory()


@pytest.mark.parametrize("width", [160, 320, 640, 1280])
async def test_presets_are_as_good_as_lanczos_and_newer_formats_are_smaller(
    renderer: VipsRenderer, photograph: Path, whole: pyvips.Image, width: int
) -> None:
    reference = whole.resize(width / whole.width, kernel="lanczos3")
    sizes = {}
    for chosen in SHOWN:
        made = await renderer.render(photograph, "image/jpeg", Preset("any", width, width), chosen)
        sizes[chosen] = len(made.content)
        assert likeness(reference, opened(made.content)) >= 0.97, (chosen, width)
    assert sizes[Format.AVIF] < sizes[Format.JPEG]
    assert sizes[Format.WEBP] < sizes[Format.JPEG]


FOLDER = Path("/usr/share/backgrounds/mate/nature")
REAL = ["Aqua", "Blinds", "Dune", "FreshFlower", "Garden", "GreenMeadow", "LadyBird", "RainDrops", "Storm"]
REAL += ["TwoWings", "Wood", "YellowFlower"]
NOISY = ("Blinds", 1280)
"""Dark and plain, and all of what is in it is the noise of a sensor."""


@pytest.mark.parametrize("name", REAL)
async def test_presets_of_real_photographs_are_as_good_as_lanczos_and_smaller_than_a_jpeg_as_good(
    renderer: VipsRenderer, name: str
) -> None:
    path = FOLDER / f"{name}.jpg"
    assert path.exists(), "apt-get install mate-backgrounds"
    real = opened(path.read_bytes()).copy_memory()
    for width in (160, 320, 640, 1280):
        height = round(real.height * width / real.width)
        reference = real.thumbnail_image(width, height=height, size="force").copy_memory()
        for chosen in SHOWN:
            made = (await renderer.render(path, "image/jpeg", Preset("any", width, None), chosen)).content
            found = likeness(reference, opened(made))
            assert found >= (0.96 if (name, width) == NOISY else 0.97), (chosen, width, found)
            if chosen is not Format.JPEG and width >= 320:
                assert len(made) < bytes_of_a_jpeg(reference, found), (chosen, width)


def bytes_of_a_jpeg(reference: pyvips.Image, wanted: float) -> float:
    """Of one that is as like the reference, between those of two qualities."""
    below = (0.0, 0)
    for quality in range(30, 100, 5):
        content = saved(reference, ".jpg", Q=quality, optimize_coding=True, subsample_mode="on", keep="none")
        found = (likeness(reference, opened(content)), len(content))
        if found[0] >= wanted:
            return below[1] + (wanted - below[0]) / (found[0] - below[0]) * (found[1] - below[1])
        below = found
    return below[1]


async def test_a_normalised_photograph_is_as_good_as_lanczos(
    renderer: VipsRenderer, photograph: Path, whole: pyvips.Image
) -> None:
    made = await renderer.normalise(photograph, "image/jpeg", Normalisation(max_edge=2560))
    assert made is not None
    assert (made.media.width, made.media.height) == (2560, 1920)
    assert likeness(whole.resize(0.64, kernel="lanczos3"), opened(made.content)) >= 0.98


SCRIPT = """
import anyio, hashlib, pathlib, sys
from service.adapters.vips.renderer import VipsRenderer
from service.domain.rendition import Format, Normalisation, Preset

async def main():
    renderer, path = VipsRenderer(), pathlib.Path(sys.argv[1])
    for chosen in (Format.JPEG, Format.WEBP, Format.AVIF):
        made = await renderer.render(path, "image/jpeg", Preset("any", 320, 320), chosen)
        print(hashlib.sha256(made.content).hexdigest())
    made = await renderer.normalise(path, "image/jpeg", Normalisation(max_edge=2560))
    print(hashlib.sha256(made.content).hexdigest())
    await renderer.aclose()

anyio.run(main)
"""


async def test_the_same_photograph_gives_the_same_bytes_under_every_parent(
    renderer: VipsRenderer, photograph: Path
) -> None:
    preset = Preset("any", 320, 320)
    here = [(await renderer.render(photograph, "image/jpeg", preset, each)).content for each in SHOWN]
    normal = await renderer.normalise(photograph, "image/jpeg", Normalisation(max_edge=2560))
    assert normal is not None
    there = await anyio.run_process([sys.executable, "-c", SCRIPT, str(photograph)], stderr=subprocess.PIPE)
    assert there.stdout.decode().split() == [hashlib.sha256(each).hexdigest() for each in (*here, normal.content)]
