"""Presets and normalisation as values: what they offer, and what tells stored renditions stale."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from service.domain.rendition import Animation, Colour, Fit, Format, Normalisation, Preset, offered, original_format

SMALL = Preset("small", 320, 320)
SCRIPT = "from service.domain.rendition import *; print(Preset('small', 320, 320).definition('vips-8/1'))"


def test_the_original_format_is_the_parents_and_stands_there_once() -> None:
    assert offered(SMALL, "image/jpeg") == (Format.AVIF, Format.WEBP, Format.JPEG)
    assert offered(SMALL, "image/apng") == (Format.AVIF, Format.WEBP, Format.PNG)
    assert offered(SMALL, "image/webp") == (Format.AVIF, Format.WEBP)
    assert offered(SMALL, "video/mp4")[-1] is Format.JPEG
    assert offered(replace(SMALL, formats=(Format.ORIGINAL, Format.GIF)), "image/gif") == (Format.GIF,)


@pytest.mark.parametrize("media_type", ["text/html", "image/svg+xml", "image/tiff", "audio/mp4", "application/pdf", ""])
def test_of_anything_else_nothing_is_offered(media_type: str) -> None:
    assert original_format(media_type) is None
    assert offered(SMALL, media_type) == ()


def test_formats_have_one_type_one_extension_and_what_they_can_hold() -> None:
    assert [each.extension for each in Format if each is not Format.ORIGINAL] == ["avif", "webp", "jpg", "png", "gif"]
    assert Format.JPEG.media_type == "image/jpeg"
    assert [each for each in Format if not each.has_alpha] == [Format.JPEG]
    assert {each for each in Format if each.has_frames} == {Format.WEBP, Format.GIF}


def test_qualities_are_the_presets_own_or_the_usual_ones() -> None:
    preset = replace(SMALL, qualities=((Format.WEBP, 51),))
    assert preset.quality(Format.WEBP) == 51
    assert preset.quality(Format.JPEG) == 88
    assert preset.quality(Format.JPEG, 320 * 320) == 93
    assert preset.quality(Format.WEBP, 1) == 51
    assert preset.quality(Format.PNG) is None


@pytest.mark.parametrize(
    "change",
    [
        {"width": 321},
        {"height": None},
        {"fit": Fit.COVER},
        {"formats": (Format.WEBP, Format.AVIF, Format.ORIGINAL)},
        {"qualities": ((Format.AVIF, 51),)},
        {"effort": 5},
        {"enlarge": True},
        {"animation": Animation(2)},
        {"animation": Animation(1, 1000)},
    ],
)
def test_whatever_changes_a_presets_bytes_changes_its_definition(change: dict[str, object]) -> None:
    assert replace(SMALL, **change).definition("vips-8/1") != SMALL.definition("vips-8/1")  # type: ignore[arg-type]


def test_a_definition_is_that_of_the_engine_and_not_of_the_name_or_of_what_is_said_twice() -> None:
    definition = SMALL.definition("vips-8/1")
    assert definition == "2e6b30be5e231637"
    assert replace(SMALL, name="tiny").definition("vips-8/1") == definition
    both = ((Format.AVIF, 51), (Format.WEBP, 52))
    assert len({replace(SMALL, qualities=each).definition("vips-8/1") for each in (both, both[::-1])}) == 1
    assert SMALL.definition("vips-9/1") != definition


def test_a_definition_is_the_same_in_every_process() -> None:
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == SMALL.definition("vips-8/1")


def test_a_normalisation_has_a_definition_of_its_own() -> None:
    rules = Normalisation(max_edge=2560)
    changes = [{"max_edge": 2000}, {"strip": False}, {"colour": Colour.KEEP}, {"format": Format.WEBP}]
    definitions = {rules.definition("x"), *(replace(rules, **change).definition("x") for change in changes)}  # type: ignore[arg-type]
    assert len(definitions) == 5
    assert rules.definition("y") not in definitions


@pytest.mark.parametrize(
    ("frames", "duration_ms", "admitted"), [(10, 1000, True), (11, 1000, False), (10, 1001, False), (1, 0, True)]
)
def test_an_animation_is_admitted_within_both_limits(frames: int, duration_ms: int, *, admitted: bool) -> None:
    assert Animation(10, 1000).admits(frames, duration_ms) is admitted


def test_an_animation_without_a_limit_of_time_may_last() -> None:
    assert Animation(10).admits(10, 10**9)
