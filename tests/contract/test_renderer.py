"""What every renderer promises. A new adapter joins with one line in `RENDERERS`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import pytest
import pyvips

from service.adapters.vips.renderer import VipsRenderer
from service.adapters.vips.sniff import sniff
from service.domain.errors import DimensionsExceeded, UnreadableMedia
from service.domain.rendition import Animation, Colour, Fit, Format, Normalisation, Preset, offered
from service.ports.renderer import Renderer
from tests import samples
from tests.parts import pictures
from tests.parts.pictures import BLUE, GREEN, RED, YELLOW, card, corners, is_near, opened, saved

pytestmark = pytest.mark.anyio

RENDERERS: dict[str, Callable[[], Renderer]] = {"vips": VipsRenderer}
SMALL = Preset("small", 48, 48, formats=(Format.ORIGINAL,))
RULES = Normalisation(max_edge=80)
FORMATS = [each for each in Format if each is not Format.ORIGINAL]
UPRIGHT: list[tuple[int, ...]] = [RED, GREEN, BLUE, YELLOW]
PRINTED: list[tuple[int, ...]] = [(222, 46, 43), (42, 160, 57), (44, 70, 144), (230, 209, 35)]
"""What is left of them in the colours of a press."""
File = Callable[[bytes], Path]


@pytest.fixture(scope="module", params=RENDERERS)
async def renderer(request: pytest.FixtureRequest) -> AsyncIterator[Renderer]:
    async with contextlib.aclosing(RENDERERS[request.param]()) as renderer:
        yield renderer


@pytest.fixture
def file(tmp_path: Path) -> File:
    def write(data: bytes) -> Path:
        path = tmp_path / "bytes.png"  # A name is a claim, and claims are not believed.
        path.write_bytes(data)
        return path

    return write


def turned_jpeg(orientation: int) -> bytes:
    return saved(pictures.stored(orientation), ".jpg")


def p3() -> bytes:
    return saved(pictures.with_profile("p3"), ".jpg")


def ultra_hdr() -> bytes:
    """A JPEG with a gain map behind its end, announced as MPF and XMP do (ISO 21496-1, Ultra HDR)."""
    base, gain_map = saved(card(), ".jpg"), saved(card(24, 16), ".jpg")
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta hdrgm:Version='1.0'/>"
    segment = b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp
    mpf = b"\xff\xe2" + (2 + 4 + 60).to_bytes(2, "big") + b"MPF\0" + bytes(60)
    return base[:2] + segment + mpf + base[2:] + gain_map


def palette_with_alpha() -> bytes:
    return saved(card().addalpha(), ".png", palette=True)


def wide(image: pyvips.Image, interpretation: str) -> pyvips.Image:
    """In 16 bits."""
    return (image.cast("ushort") * 257).cast("ushort").copy(interpretation=interpretation)


def half_clear() -> pyvips.Image:
    """The card; its right half is transparent."""
    mask = pyvips.Image.xyz(96, 64)[0] < 48
    return card().bandjoin(mask)


GREY: list[tuple[int, ...]] = [(value,) * 3 for value in (112, 138, 76, 208)]
CASES: dict[str, tuple[Callable[[], bytes], str, list[tuple[int, ...]]]] = {
    **{f"jpeg turned {n}": (partial(turned_jpeg, n), "image/jpeg", UPRIGHT) for n in range(1, 9)},
    "webp turned 6": (lambda: saved(pictures.stored(6), ".webp"), "image/webp", UPRIGHT),
    "png turned 8": (lambda: saved(pictures.stored(8), ".png"), "image/png", UPRIGHT),
    "progressive jpeg": (lambda: saved(card(), ".jpg", interlace=True), "image/jpeg", UPRIGHT),
    "jpeg without subsampling": (lambda: saved(card(), ".jpg", Q=95), "image/jpeg", UPRIGHT),
    "jpeg with restarts": (lambda: saved(card(), ".jpg", restart_interval=2), "image/jpeg", UPRIGHT),
    "grey jpeg": (lambda: saved(card().colourspace("b-w"), ".jpg"), "image/jpeg", GREY),
    "cmyk jpeg": (lambda: saved(pictures.with_profile("cmyk"), ".jpg"), "image/jpeg", PRINTED),
    "cmyk jpeg without a profile": (
        lambda: saved(pictures.with_profile("cmyk"), ".jpg", keep="none"), "image/jpeg", PRINTED,
    ),
    "jpeg in p3": (p3, "image/jpeg", UPRIGHT),
    "jpeg with a gain map": (ultra_hdr, "image/jpeg", UPRIGHT),
    "png": (lambda: saved(card(), ".png"), "image/png", UPRIGHT),
    "png in p3": (lambda: saved(pictures.with_profile("p3"), ".png"), "image/png", UPRIGHT),
    "interlaced png": (lambda: saved(card(), ".png", interlace=True), "image/png", UPRIGHT),
    "png of 16 bits": (lambda: saved(wide(card(), "rgb16"), ".png"), "image/png", UPRIGHT),
    "grey png of 16 bits": (lambda: saved(wide(card().colourspace("b-w"), "grey16"), ".png"), "image/png", GREY),
    "png with a palette": (lambda: saved(card(), ".png", palette=True), "image/png", UPRIGHT),
    "png of one bit": (
        lambda: saved(card().colourspace("b-w") > 128, ".png", bitdepth=1), "image/png",
        [(0,) * 3, (255,) * 3, (0,) * 3, (255,) * 3],
    ),
    "opaque png with alpha": (lambda: saved(card().addalpha(), ".png"), "image/png", UPRIGHT),
    "png with a palette and alpha": (palette_with_alpha, "image/png", UPRIGHT),
    "webp": (lambda: saved(card(), ".webp", Q=90), "image/webp", UPRIGHT),
    "lossless webp": (lambda: saved(card(), ".webp", lossless=True), "image/webp", UPRIGHT),
    "webp in p3": (lambda: saved(pictures.with_profile("p3"), ".webp", Q=90), "image/webp", UPRIGHT),
    "animated webp": (lambda: saved(pictures.animation(), ".webp", lossless=True), "image/webp", UPRIGHT),
    "gif": (lambda: saved(card(), ".gif"), "image/gif", UPRIGHT),
    "interlaced gif": (lambda: saved(card(), ".gif", interlace=True), "image/gif", UPRIGHT),
    "animated gif": (lambda: saved(pictures.animation(), ".gif"), "image/gif", UPRIGHT),
    "avif": (lambda: saved(card(), ".avif", effort=0, Q=90), "image/avif", UPRIGHT),
    "avif of 10 bits": (lambda: saved(card(), ".avif", effort=0, Q=90, bitdepth=10), "image/avif", UPRIGHT),
    "avif without loss": (lambda: saved(card(), ".avif", effort=0, lossless=True), "image/avif", UPRIGHT),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_every_kind_of_picture_comes_out_upright_small_and_in_srgb(
    renderer: Renderer, file: File, name: str
) -> None:
    sample, media_type, colours = CASES[name]
    path = file(sample())
    for chosen in offered(SMALL, media_type):
        made = await renderer.render(path, media_type, SMALL, chosen)
        image = opened(made.content)
        assert (image.width, image.height) == (made.media.width, made.media.height) == (48, 32)
        assert sniff(made.content) == made.media.media_type == chosen.media_type
        assert not {field for field in image.get_fields() if field.startswith(("icc", "xmp", "iptc"))}
        shown = [colour[:3] if len(colour) >= 3 else colour[:1] * 3 for colour in corners(image)]
        assert all(is_near(*pair) for pair in zip(shown, colours, strict=True)), shown


@pytest.mark.parametrize("chosen", FORMATS)
async def test_what_is_transparent_stays_so_where_the_format_can_and_is_white_in_a_jpeg(
    renderer: Renderer, file: File, chosen: Format
) -> None:
    made = await renderer.render(file(saved(half_clear(), ".png")), "image/png", SMALL, chosen)
    left, right, *_ = corners(opened(made.content))
    assert is_near(left[:3], RED)
    assert right[3] == 0 if chosen.has_alpha else is_near(right, (255, 255, 255))


@pytest.mark.parametrize(("fit", "size"), [(Fit.COVER, (40, 40)), (Fit.CONTAIN, (40, 40)), (Fit.INSIDE, (40, 27))])
@pytest.mark.parametrize("frames", [1, 4])
async def test_each_fit_has_its_size_and_its_margins(
    renderer: Renderer, file: File, fit: Fit, size: tuple[int, int], frames: int
) -> None:
    path = file(saved(pictures.animation(frames, 100, 96, 64), ".gif") if frames > 1 else saved(card(), ".jpg"))
    media_type = "image/gif" if frames > 1 else "image/jpeg"
    preset = Preset("box", 40, 40, fit, animation=Animation(10))
    made = await renderer.render(path, media_type, preset, Format.WEBP)
    image = opened(made.content)
    assert (image.width, image.get_page_height(), image.get_n_pages(), made.media.frames) == (*size, frames, frames)
    assert all(is_near(found[:3], colour) for found, colour in zip(corners(image), UPRIGHT, strict=True))
    assert (image.getpoint(1, 1)[3:] == [0]) is (fit is Fit.CONTAIN)


@pytest.mark.parametrize(
    ("width", "height", "made"), [(1, 1, (1, 1)), (3, 900, (1, 48)), (900, 3, (48, 1)), (20, 10, (20, 10))]
)
async def test_a_picture_of_any_proportions_has_at_least_a_pixel_and_is_not_enlarged(
    renderer: Renderer, file: File, width: int, height: int, made: tuple[int, int]
) -> None:
    path = file(saved(pyvips.Image.black(width, height, bands=3), ".png"))
    found = (await renderer.render(path, "image/png", SMALL, Format.WEBP)).media
    assert (found.width, found.height) == made


@pytest.mark.parametrize(
    ("limits", "frames"), [(Animation(4, 400), 4), (Animation(3), 1), (Animation(4, 399), 1), (Animation(), 1)]
)
@pytest.mark.parametrize("suffix", [".gif", ".webp"])
async def test_an_animation_keeps_its_frames_within_the_limits_or_gives_the_first(
    renderer: Renderer, file: File, suffix: str, limits: Animation, frames: int
) -> None:
    path, media_type = file(saved(pictures.animation(), suffix)), f"image/{suffix[1:]}"
    for made in (
        await renderer.render(path, media_type, replace(SMALL, width=24, animation=limits), Format(suffix[1:])),
        await renderer.normalise(path, media_type, Normalisation(max_edge=24, animation=limits)),
    ):
        assert made is not None
        image = opened(made.content)
        assert made.media.frames == image.get_n_pages() == frames
        assert (image.width, image.get_page_height()) == (24, 16)
        assert all(is_near(found[:3], colour) for found, colour in zip(corners(image), UPRIGHT, strict=True))
        assert frames == 1 or image.get("delay") == [100] * 4


async def test_frames_do_not_bleed_into_each_other(renderer: Renderer, file: File) -> None:
    pages = [pyvips.Image.black(40, 40, bands=3) + shade for shade in (0, 255, 0, 255)]
    strip = pyvips.Image.arrayjoin(pages, across=1).cast("uchar").copy(interpretation="srgb")
    strip.set_type(pyvips.GValue.gint_type, "page-height", 40)
    preset = Preset("tiny", 10, 10, animation=Animation(10))
    made = await renderer.render(file(saved(strip, ".webp", lossless=True)), "image/webp", preset, Format.GIF)
    assert {tuple(page.avg() for _ in "a") for page in opened(made.content)[:3].pagesplit()} == {(0.0,), (255.0,)}


@pytest.mark.parametrize("name", ["mp4", "webm"])
async def test_a_film_has_a_poster_and_a_placeholder(renderer: Renderer, file: File, name: str) -> None:
    sample, media_type = samples.FILMS[name]
    for chosen in (Format.JPEG, Format.WEBP):
        made = await renderer.render(file(sample()), media_type, SMALL, chosen)
        assert (made.media.media_type, made.media.width, made.media.height) == (chosen.media_type, 48, 36)
        assert opened(made.content).deviate() > 5
    assert (await renderer.placeholder(file(sample()), media_type)).aspect == pytest.approx(4 / 3, abs=0.001)


@pytest.mark.parametrize("name", [name for name in CASES if "grey" not in name and "one bit" not in name][::3])
async def test_a_placeholder_tells_colour_and_aspect_of_the_upright_picture(
    renderer: Renderer, file: File, name: str
) -> None:
    sample, media_type, _ = CASES[name]
    found = await renderer.placeholder(file(sample()), media_type)
    colour = tuple(bytes.fromhex(found.colour[1:]))
    assert any(is_near(colour, each, 32) for each in UPRIGHT), found
    assert found.aspect == 1.5


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
@pytest.mark.parametrize("turned", [1, 6])
async def test_what_a_picture_tells_of_its_owner_is_gone_and_the_picture_is_not(
    renderer: Renderer, file: File, suffix: str, turned: int
) -> None:
    options = {"effort": 0} if suffix == ".avif" else {}
    data = saved(pictures.secretive(pictures.stored(turned)), suffix, **options)
    media_type = {".jpg": "image/jpeg"}.get(suffix, f"image/{suffix[1:]}")
    assert b"SECRET" in data
    path = file(data)
    made = await renderer.normalise(path, media_type, Normalisation())
    assert made is not None
    for content in (made.content, (await renderer.render(path, media_type, SMALL, Format.JPEG)).content):
        assert not [word for word in (b"SECRET", b"GPS", b"xmp", b"Exif") if word in content]
        image = opened(content)
        assert image.get_typeof("orientation") == 0 or image.get("orientation") == 1
        assert all(is_near(*pair) for pair in zip(corners(image), UPRIGHT, strict=True))
    assert await renderer.normalise(file(made.content), media_type, Normalisation()) is None


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
async def test_a_picture_that_only_loses_metadata_loses_no_pixel(renderer: Renderer, file: File, suffix: str) -> None:
    data = saved(pictures.secretive(pictures.photograph(64, 48)), suffix)
    media_type = {".jpg": "image/jpeg"}.get(suffix, f"image/{suffix[1:]}")
    made = await renderer.normalise(file(data), media_type, Normalisation())
    assert made is not None
    assert (opened(made.content) - opened(data)).abs().max() == 0
    assert len(made.content) < len(data)


BARE: dict[str, tuple[Callable[[], bytes], str]] = {
    "jpeg": (lambda: saved(card(), ".jpg", keep="none"), "image/jpeg"),
    "progressive jpeg": (lambda: saved(card(), ".jpg", keep="none", interlace=True), "image/jpeg"),
    "png": (lambda: saved(card(), ".png", keep="none"), "image/png"),
    "apng": (samples.apng, "image/apng"),
    "webp": (lambda: saved(card(), ".webp", keep="none"), "image/webp"),
    "webp with alpha": (lambda: saved(half_clear(), ".webp", keep="none"), "image/webp"),
    "animated webp": (lambda: saved(pictures.animation(), ".webp", keep="none"), "image/webp"),
    "gif": (lambda: saved(card(), ".gif"), "image/gif"),
    "animated gif": (lambda: saved(pictures.animation(), ".gif"), "image/gif"),
    "avif": (lambda: saved(card(), ".avif", keep="none", effort=0), "image/avif"),
    "avif with alpha": (lambda: saved(half_clear(), ".avif", keep="none", effort=0), "image/avif"),
}


@pytest.mark.parametrize("name", BARE)
async def test_a_picture_that_complies_is_left_as_it_is(renderer: Renderer, file: File, name: str) -> None:
    sample, media_type = BARE[name]
    assert await renderer.normalise(file(sample()), media_type, Normalisation(max_edge=96)) is None


async def test_a_picture_beyond_the_edge_is_shrunk_in_its_format_and_then_complies(
    renderer: Renderer, file: File
) -> None:
    for name in ("jpeg turned 6", "png", "webp", "gif", "avif", "cmyk jpeg", "png of 16 bits"):
        sample, media_type, colours = CASES[name]
        made = await renderer.normalise(file(sample()), media_type, RULES)
        assert made is not None
        assert (made.media.media_type, made.media.width, made.media.height) == (media_type, 80, 53)
        assert all(is_near(found[:3], each) for found, each in zip(corners(opened(made.content)), colours, strict=True))
        assert await renderer.normalise(file(made.content), media_type, RULES) is None


async def test_a_profile_is_kept_or_converted_as_the_rules_say(renderer: Renderer, file: File) -> None:
    path = file(p3())
    kept = await renderer.normalise(path, "image/jpeg", Normalisation(max_edge=80, colour=Colour.KEEP))
    converted = await renderer.normalise(path, "image/jpeg", Normalisation())
    assert kept is not None and converted is not None  # noqa: PT018 - one fact
    assert opened(kept.content).get_typeof("icc-profile-data")
    assert not is_near(corners(opened(kept.content))[1], GREEN)
    assert not opened(converted.content).get_typeof("icc-profile-data")
    assert is_near(corners(opened(converted.content))[1], GREEN)
    bare = await renderer.normalise(path, "image/jpeg", Normalisation(colour=Colour.KEEP))
    assert bare is None or opened(bare.content).get_typeof("icc-profile-data")


async def test_a_format_may_be_chosen_and_metadata_may_stay(renderer: Renderer, file: File) -> None:
    path = file(saved(pictures.secretive(card()), ".png"))
    made = await renderer.normalise(path, "image/png", Normalisation(format=Format.WEBP))
    assert made is not None
    assert made.media.media_type == sniff(made.content) == "image/webp"
    assert await renderer.normalise(path, "image/png", Normalisation(strip=False)) is None


@pytest.mark.parametrize("name", samples.PICTURES)
async def test_a_picture_that_breaks_off_gives_nothing(renderer: Renderer, file: File, name: str) -> None:
    sample, media_type = samples.PICTURES[name]
    for share in (0.05, 0.5, 0.9):
        path = file(samples.truncated(sample(), share))
        with pytest.raises(UnreadableMedia):
            await renderer.render(path, media_type, SMALL, Format.WEBP)
        with pytest.raises(UnreadableMedia):
            await renderer.normalise(path, media_type, RULES)
        with pytest.raises(UnreadableMedia):
            await renderer.placeholder(path, media_type)


@pytest.mark.parametrize("bomb", ["png_bomb", "jpeg_bomb", "gif_bomb"])
async def test_a_bomb_is_refused_by_its_header(renderer: Renderer, file: File, bomb: str) -> None:
    path, media_type = file(getattr(samples, bomb)()), f"image/{bomb.partition('_')[0]}"
    with anyio.fail_after(5):
        for work in (
            renderer.render(path, media_type, SMALL, Format.WEBP),
            renderer.normalise(path, media_type, RULES),
            renderer.placeholder(path, media_type),
        ):
            with pytest.raises(DimensionsExceeded):
                await work


@pytest.mark.parametrize("name", [*samples.OTHERS, "mp3", "m4a"])
async def test_of_anything_else_no_picture_is_made(renderer: Renderer, file: File, name: str) -> None:
    sample, media_type = (samples.OTHERS | samples.SOUNDS)[name]
    with pytest.raises(UnreadableMedia):
        await renderer.render(file(sample()), media_type, SMALL, Format.JPEG)


async def test_a_type_that_is_not_that_of_the_bytes_gives_nothing(renderer: Renderer, file: File) -> None:
    for media_type in ("image/jpeg", "image/gif", "image/avif", "video/mp4"):
        with pytest.raises(UnreadableMedia):
            await renderer.render(file(samples.png()), media_type, SMALL, Format.JPEG)


async def test_the_same_picture_and_rules_give_the_same_bytes_in_every_process(renderer: Renderer, file: File) -> None:
    path, preset = file(saved(pictures.photograph(200, 150), ".jpg")), Preset("small", 96, 96)
    async with contextlib.aclosing(VipsRenderer()) as other:
        for each in FORMATS:
            made = [await one.render(path, "image/jpeg", preset, each) for one in (renderer, other)]
            assert made[0] == made[1], each
        normal = [await one.normalise(path, "image/jpeg", RULES) for one in (renderer, other)]
        assert normal[0] == normal[1] is not None
        assert other.engine == renderer.engine


async def test_warming_twice_and_closing_twice_is_fine(file: File) -> None:
    for make in RENDERERS.values():
        renderer = make()
        await renderer.warm()
        await renderer.warm()
        assert (await renderer.placeholder(file(samples.png()), "image/png")).aspect == 1.5
        await renderer.aclose()
        await renderer.aclose()
