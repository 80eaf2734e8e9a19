"""What every prober promises. A new adapter joins with one line in `PROBERS`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from service.adapters.vips.prober import VipsProber
from service.domain.blob import MediaInfo
from service.ports.prober import Prober
from tests import samples

pytestmark = pytest.mark.anyio

PROBERS: dict[str, Callable[[], Prober]] = {"vips": VipsProber}
FILMS_AND_SOUNDS = samples.FILMS | samples.SOUNDS
EVERYTHING = samples.PICTURES | FILMS_AND_SOUNDS | samples.OTHERS


@pytest.fixture(scope="module", params=PROBERS)
async def prober(request: pytest.FixtureRequest) -> AsyncIterator[Prober]:
    async with contextlib.aclosing(PROBERS[request.param]()) as prober:
        yield prober


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(data: bytes) -> Path:
        path = tmp_path / "bytes.jpg"  # A name is a claim, and claims are not believed.
        path.write_bytes(data)
        return path

    return write


File = Callable[[bytes], Path]


@pytest.mark.parametrize("name", EVERYTHING)
async def test_the_media_type_comes_from_the_bytes(prober: Prober, file: File, name: str) -> None:
    sample, media_type = EVERYTHING[name]
    assert (await prober.probe(file(sample()))).media_type == media_type


@pytest.mark.parametrize("name", samples.PICTURES)
async def test_a_whole_picture_is_readable_with_its_dimensions(prober: Prober, file: File, name: str) -> None:
    sample, media_type = samples.PICTURES[name]
    width, height, frames = {"apng": (16, 16, 3), "animated_webp": (32, 24, 4), "animated_gif": (32, 24, 4)}.get(
        name, (96, 64, 1)
    )
    assert await prober.probe(file(sample())) == MediaInfo(media_type, width, height, frames, readable=True)


@pytest.mark.parametrize("name", samples.FILMS)
async def test_a_whole_film_is_readable_with_dimensions_and_duration(prober: Prober, file: File, name: str) -> None:
    sample, media_type = samples.FILMS[name]
    assert await prober.probe(file(sample())) == MediaInfo(media_type, 64, 48, duration_ms=1000, readable=True)


@pytest.mark.parametrize("name", samples.SOUNDS)
async def test_a_whole_sound_is_readable_with_its_duration(prober: Prober, file: File, name: str) -> None:
    found = await prober.probe(file(samples.SOUNDS[name][0]()))
    assert found.readable is True
    assert found.duration_ms == pytest.approx(1000, abs=50)
    assert (found.width, found.height, found.frames) == (None, None, None)


@pytest.mark.parametrize("name", samples.OTHERS)
async def test_what_nobody_decodes_has_a_type_and_nothing_else(prober: Prober, file: File, name: str) -> None:
    sample, media_type = samples.OTHERS[name]
    assert await prober.probe(file(sample())) == MediaInfo(media_type)


async def test_dimensions_are_those_stored_before_any_orientation(prober: Prober, file: File) -> None:
    found = await prober.probe(file(samples.photograph()))
    assert (found.width, found.height, found.readable) == (1600, 1200, True)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", samples.PICTURES)
async def test_a_picture_that_breaks_off_is_unreadable(prober: Prober, file: File, name: str, share: float) -> None:
    sample, media_type = samples.PICTURES[name]
    found = await prober.probe(file(samples.truncated(sample(), share)))
    assert (found.media_type, found.readable) == (media_type, False)


@pytest.mark.parametrize("cut", [1, 2, 5, 12, 13])
@pytest.mark.parametrize("name", samples.PICTURES)
async def test_a_picture_is_unreadable_without_its_last_bytes(prober: Prober, file: File, name: str, cut: int) -> None:
    assert (await prober.probe(file(samples.PICTURES[name][0]()[:-cut]))).readable is False


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", samples.FILMS)
async def test_a_film_that_breaks_off_is_unreadable(prober: Prober, file: File, name: str, share: float) -> None:
    assert (await prober.probe(file(samples.truncated(samples.FILMS[name][0](), share)))).readable is False


@pytest.mark.parametrize("name", ["jpeg", "progressive_jpeg", "photograph"])
async def test_a_photograph_with_a_hole_in_it_is_unreadable(prober: Prober, file: File, name: str) -> None:
    data = bytearray(getattr(samples, name)())
    middle = len(data) // 2
    data[middle : middle + 600] = b"\xff" * 600
    assert (await prober.probe(file(bytes(data)))).readable is False


async def test_what_follows_a_whole_photograph_does_not_spoil_it(prober: Prober, file: File) -> None:
    assert (await prober.probe(file(samples.jpeg() + samples.mp4()))).readable is True


@pytest.mark.parametrize(
    ("bomb", "edge"), [(samples.png_bomb, 50_000), (samples.jpeg_bomb, 65_000), (samples.gif_bomb, 65_535)]
)
async def test_a_bomb_is_known_by_its_header_and_never_decoded(
    prober: Prober, file: File, bomb: Callable[[], bytes], edge: int
) -> None:
    found = await prober.probe(file(bomb()))
    assert (found.width, found.height, found.readable) == (edge, edge, None)


async def test_an_svg_is_never_a_readable_picture(prober: Prober, file: File) -> None:
    found = await prober.probe(file(samples.svg()))
    assert found == MediaInfo("image/svg+xml")


async def test_sound_in_a_video_container_is_sound(prober: Prober, file: File) -> None:
    assert (await prober.probe(file(samples.m4a()))).media_type == "audio/mp4"


async def test_warming_twice_and_closing_twice_is_fine(file: File) -> None:
    for make in PROBERS.values():
        prober = make()
        await prober.warm()
        await prober.warm()
        assert (await prober.probe(file(samples.png()))).readable is True
        await prober.aclose()
        await prober.aclose()


@pytest.mark.parametrize("frames", [0, 2, 4, 2**31, 2**32 - 1])
async def test_an_animated_png_cannot_claim_frames_that_it_does_not_hold(
    prober: Prober, file: File, frames: int
) -> None:
    found = await prober.probe(file(samples.apng(claimed_frames=frames)))
    assert found.readable is False
    assert (found.frames or 0) < 2**31
