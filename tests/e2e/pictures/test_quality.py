"""Pictures like photographs, in all usual sizes: as good as Lanczos makes them, and the same bytes wherever made."""

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
from service.domain.rendition import DEFAULT_QUALITY, Format, Normalisation, Preset
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


@pytest.mark.parametrize("chosen", [Format.AVIF, Format.WEBP])
async def test_at_equal_likeness_newer_formats_are_smaller(
    renderer: VipsRenderer, photograph: Path, whole: pyvips.Image, chosen: Format
) -> None:
    reference = whole.resize(0.16, kernel="lanczos3")

    async def made(each: Format, quality: int) -> tuple[float, int]:
        preset = Preset("any", 640, 640, qualities=((each, quality),))
        content = (await renderer.render(photograph, "image/jpeg", preset, each)).content
        return likeness(reference, opened(content)), len(content)

    wanted, size = await made(Format.JPEG, DEFAULT_QUALITY[Format.JPEG])
    below = (0.0, 0)
    for quality in range(70, 100, 4):
        found = await made(chosen, quality)
        if found[0] >= wanted:
            share = (wanted - below[0]) / (found[0] - below[0])
            assert below[1] + share * (found[1] - below[1]) < size
            return
        below = found
    pytest.fail(f"{chosen} never looks like a JPEG of {DEFAULT_QUALITY[Format.JPEG]}")


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
