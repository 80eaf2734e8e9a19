"""Rendering goes wrong in every way: one picture has no preset, and nobody else is harmed."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import anyio
import psutil
import pytest

from service.adapters.observed import ObservedRenderer
from service.adapters.vips.lane import Bounds
from service.adapters.vips.renderer import VipsRenderer, rendering_bounds
from service.domain.errors import RenderBusy, RenderFailed, StorageUnavailable, UnreadableMedia
from service.domain.rendition import Format, Normalisation, Preset
from service.observability import RenderingState
from service.ports.renderer import Renderer
from tests import samples
from tests.parts import pictures
from tests.parts.pictures import saved
from tests.telemetry_recorder import recording

pytestmark = pytest.mark.anyio

QUICK = Bounds(children=2, cpu_seconds=1, wall_seconds=20, memory_bytes=512 << 20, waiting=32, file_bytes=8 << 20)
PAYLOAD = b"PAYLOAD-OF-ANOTHER-KIND"
FINE = Preset("fine", 8, 8)


HOSTILE = "tests.adapters.hostile_renders"
"""Its children do what the preset is called after."""


@pytest.fixture(scope="module")
async def hostile() -> AsyncIterator[VipsRenderer]:
    async with contextlib.aclosing(VipsRenderer(QUICK, HOSTILE)) as renderer:
        yield renderer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "bytes"
    path.write_bytes(b"anything")
    return path


def children() -> set[psutil.Process]:
    return {child for child in psutil.Process().children() if "service.adapters.vips.child" in child.cmdline()}


async def render(renderer: Renderer, path: Path, name: str) -> bytes:
    return (await renderer.render(path, "image/png", replace(FINE, name=name), Format.WEBP)).content


@pytest.mark.parametrize("mischief", ["spin", "crash", "balloon", "babble", "flood"])
async def test_what_hangs_crashes_balloons_or_floods_fails_alone(
    hostile: VipsRenderer, path: Path, mischief: str
) -> None:
    async with anyio.create_task_group() as tasks:

        async def misbehave() -> None:
            with pytest.raises(RenderFailed) as failed:
                await render(hostile, path, mischief)
            assert failed.value.code == "unreadable-media"
            assert "within the bounds" in str(failed.value)

        tasks.start_soon(misbehave)
        for _ in range(10):
            assert (await render(hostile, path, "fine")).startswith(b"RIFF")

    assert (await render(hostile, path, "fine")).startswith(b"RIFF")


@pytest.mark.parametrize("attempt", ["files", "sockets", "processes"])
async def test_a_rendering_child_opens_nothing(hostile: VipsRenderer, path: Path, attempt: str) -> None:
    assert (await render(hostile, path, attempt)).startswith(b"RIFF")


async def test_what_a_child_says_is_not_believed(hostile: VipsRenderer, path: Path) -> None:
    for edge in (1, 2, 3):
        with pytest.raises(RenderFailed):
            await hostile.normalise(path, "image/png", Normalisation(max_edge=edge))
    with pytest.raises(RenderFailed):
        await hostile.placeholder(path, "image/png")
    with pytest.raises(RenderFailed):
        await hostile.render(path, "image/png", FINE, Format.JPEG)


async def test_a_full_queue_says_so_at_once_and_who_waits_is_served(path: Path) -> None:
    bounds = replace(QUICK, children=1, waiting=2, wall_seconds=1)
    async with contextlib.aclosing(VipsRenderer(bounds, HOSTILE)) as beneath:
        renderer = ObservedRenderer(beneath)
        served: list[bytes] = []
        described: list[bool] = []

        async def wait() -> None:
            with contextlib.suppress(RenderFailed):
                await render(renderer, path, "wait")

        async def ask() -> None:
            served.append(await render(renderer, path, "fine"))

        async def describe() -> None:
            with contextlib.suppress(RenderFailed):
                await renderer.placeholder(path, "image/png")
            described.append(True)

        with recording() as recorder, anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                for _ in range(2):
                    tasks.start_soon(ask)
                while beneath.state() != RenderingState(running=1, waiting=2):
                    await anyio.wait_all_tasks_blocked()
                with pytest.raises(RenderBusy) as busy:
                    await render(renderer, path, "fine")
                assert busy.value.code == "unavailable"
                tasks.start_soon(describe)
            measured = {
                (labels["kind"], labels["outcome"], labels.get("error_type")): point.count
                for point in recorder.points("media.rendering.duration")
                for labels in [point.attributes]
            }
        assert len(served) == 2
        assert described == [True]
        assert beneath.state() == RenderingState(running=0, waiting=0)
        assert measured == {
            ("rendition", "success", None): 2,
            ("rendition", "error", "unavailable"): 1,
            ("rendition", "rejected", "unreadable_media"): 1,
            ("placeholder", "rejected", "unreadable_media"): 1,
        }


async def test_a_cancelled_rendering_ends_its_child_at_once(path: Path) -> None:
    async with contextlib.aclosing(VipsRenderer(QUICK, HOSTILE)) as renderer:
        others = children()
        await renderer.warm()
        [child] = children() - others
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(render, renderer, path, "wait")
            while renderer._pictures._idle:
                await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert child not in children()


async def test_no_file_stays_open(path: Path, hostile: VipsRenderer) -> None:
    await render(hostile, path, "fine")
    before = len([*Path("/proc/self/fd").iterdir()])
    for _ in range(20):
        await render(hostile, path, "fine")
    assert len([*Path("/proc/self/fd").iterdir()]) <= before


async def test_a_file_that_is_gone_is_trouble_of_the_store_it_lay_in(hostile: VipsRenderer, tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        await render(hostile, tmp_path / "none", "fine")


async def test_without_the_extra_a_film_has_no_poster(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.adapters.vips.renderer.find_spec", lambda _: None)
    async with contextlib.aclosing(VipsRenderer()) as renderer:
        with pytest.raises(UnreadableMedia):
            await renderer.render(path, "video/mp4", FINE, Format.JPEG)


def test_the_usual_bounds_use_every_core_and_give_way() -> None:
    bounds = rendering_bounds()
    assert bounds.children == len(os.sched_getaffinity(0))
    assert bounds.niceness > 0
    assert bounds.waiting


def behind(data: bytes) -> bytes:
    """Something else behind the end of a picture: an archive, a page, a program."""
    return data + PAYLOAD


def in_a_jpeg_segment(data: bytes) -> bytes:
    return data[:2] + b"\xff\xe5" + (len(PAYLOAD) + 2).to_bytes(2, "big") + PAYLOAD + data[2:]


def in_a_jpeg_comment(data: bytes) -> bytes:
    return data[:2] + b"\xff\xfe" + (len(PAYLOAD) + 2).to_bytes(2, "big") + PAYLOAD + data[2:]


def in_a_png_chunk(kind: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:33] + pictures.chunk(kind, PAYLOAD) + data[33:]


def in_a_gif_comment(data: bytes) -> bytes:
    return data[:-1] + b"\x21\xfe" + bytes([len(PAYLOAD)]) + PAYLOAD + b"\0;"


def in_a_gif_application(data: bytes) -> bytes:
    return data[:-1] + b"\x21\xff\x0bEVILEVIL1.0" + bytes([len(PAYLOAD)]) + PAYLOAD + b"\0;"


def in_a_webp_chunk(data: bytes) -> bytes:
    grown = data + b"EVIL" + len(PAYLOAD).to_bytes(4, "little") + PAYLOAD + b"\0" * (len(PAYLOAD) % 2)
    return grown[:4] + (len(grown) - 8).to_bytes(4, "little") + grown[8:]


def in_an_avif_box(data: bytes) -> bytes:
    return data + (len(PAYLOAD) + 8).to_bytes(4, "big") + b"free" + PAYLOAD


def in_an_avif_mdat(data: bytes) -> bytes:
    """The last box grows; no item is in what it grows by."""
    at = data.rindex(b"mdat") - 4
    return data[:at] + (len(data) - at + len(PAYLOAD)).to_bytes(4, "big") + data[at + 4 :] + PAYLOAD


def with_icc(image_name: str) -> Callable[[bytes], bytes]:
    segment = b"ICC_PROFILE\0\x01\x01" + PAYLOAD
    return lambda data: data[:2] + b"\xff\xe2" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]


def in_a_jpeg_scan(data: bytes) -> bytes:
    """Behind the last pixel, before the end."""
    return data[:-2] + PAYLOAD + data[-2:]


def in_a_jpeg_marker(number: int) -> Callable[[bytes], bytes]:
    segment = bytes([0xFF, number]) + (len(PAYLOAD) + 2).to_bytes(2, "big") + PAYLOAD
    return lambda data: data[:2] + segment + data[2:]


def behind_the_pixels_of_a_png(data: bytes) -> bytes:
    """In a chunk of pixels of its own."""
    return data[:-12] + pictures.chunk(b"IDAT", PAYLOAD) + data[-12:]


def in_the_pixels_of_a_png(data: bytes) -> bytes:
    """More lines than the picture has, not compressed."""
    at, pixels, rest = data.index(b"IDAT") - 4, b"", b""
    while (kind := data[at + 4 : at + 8]) != b"IEND":
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        pixels, rest = (pixels + data[at + 8 : end - 4], rest) if kind == b"IDAT" else (pixels, rest + data[at:end])
        at = end
    lines = zlib.decompress(pixels) + PAYLOAD
    return data[:33] + pictures.chunk(b"IDAT", zlib.compress(lines, 0)) + rest + data[-12:]


def in_a_webp_frame(data: bytes) -> bytes:
    at = data.index(b"ANMF")
    length = int.from_bytes(data[at + 4 : at + 8], "little")
    more = b"EVIL" + len(PAYLOAD).to_bytes(4, "little") + PAYLOAD + b"\0" * (len(PAYLOAD) % 2)
    frame = b"ANMF" + (length + len(more)).to_bytes(4, "little") + data[at + 8 : at + 8 + length] + more
    grown = data[:at] + frame + data[at + 8 + length :]
    return grown[:4] + (len(grown) - 8).to_bytes(4, "little") + grown[8:]


def in_an_avif_handler(data: bytes) -> bytes:
    """In its name, which nobody reads; the places in `mdat` move with it."""
    at, meta = data.index(b"hdlr") - 4, data.index(b"meta") - 4
    length = int.from_bytes(data[at : at + 4], "big")
    size = int.from_bytes(data[meta : meta + 4], "big")
    grown = (length + len(PAYLOAD)).to_bytes(4, "big") + data[at + 4 : at + length - 1] + PAYLOAD + b"\0"
    moved = data[:meta] + (size + len(PAYLOAD)).to_bytes(4, "big") + data[meta + 4 : at] + grown + data[at + length :]
    mdat, before = moved.index(b"mdat") + 4, data.index(b"mdat") + 4
    return moved.replace(before.to_bytes(4, "big"), mdat.to_bytes(4, "big"), 1)


POLYGLOTS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "jpeg and an archive": ("jpeg", lambda data: data + samples.zip_archive() + PAYLOAD),
    "jpeg and a page": ("jpeg", lambda data: behind(data + samples.html_named_jpg())),
    "jpeg and a jpeg": ("jpeg", lambda data: data + in_a_jpeg_comment(data)),
    "jpeg with a segment": ("jpeg", in_a_jpeg_segment),
    "jpeg with a comment": ("jpeg", in_a_jpeg_comment),
    "jpeg with a profile": ("jpeg", with_icc("jpeg")),
    "progressive jpeg and more": ("progressive_jpeg", behind),
    "png and an archive": ("png", lambda data: behind(data + samples.zip_archive())),
    "png with a text": ("png", in_a_png_chunk(b"tEXt")),
    "png with a page in a text": ("png", in_a_png_chunk(b"iTXt")),
    "png with a chunk of its own": ("png", in_a_png_chunk(b"evIl")),
    "png with exif": ("png", in_a_png_chunk(b"eXIf")),
    "apng and more": ("apng", behind),
    "gif and a script": ("gif", behind),
    "gif with a comment": ("gif", in_a_gif_comment),
    "gif with an application": ("animated_gif", in_a_gif_application),
    "webp and more": ("webp", behind),
    "webp with a chunk": ("webp", in_a_webp_chunk),
    "animated webp with a chunk": ("animated_webp", in_a_webp_chunk),
    "avif and more": ("avif", behind),
    "avif with a box": ("avif", in_an_avif_box),
    "progressive jpeg with bytes behind its pixels": ("progressive_jpeg", in_a_jpeg_scan),
    "jpeg with a number of lines": ("jpeg", in_a_jpeg_marker(0xDC)),
    "jpeg with a place for flash": ("jpeg", in_a_jpeg_marker(0xE2)),
    "png with pixels too many": ("png", behind_the_pixels_of_a_png),
    "png with lines too many": ("png", in_the_pixels_of_a_png),
    "png with a background that is none": ("png", in_a_png_chunk(b"bKGD")),
    "png with bits that are none": ("png", in_a_png_chunk(b"sBIT")),
    "png with a palette that it does not need": ("png", in_a_png_chunk(b"PLTE")),
    "animated webp with a chunk in a frame": ("animated_webp", in_a_webp_frame),
    "avif with a name": ("avif", in_an_avif_handler),
    "avif with more than its picture": ("avif", in_an_avif_mdat),
}


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[VipsRenderer]:
    async with contextlib.aclosing(VipsRenderer()) as renderer:
        yield renderer


@pytest.mark.parametrize("name", POLYGLOTS)
async def test_nothing_foreign_comes_out_of_a_file_that_is_two(renderer: VipsRenderer, path: Path, name: str) -> None:
    sample, hidden = POLYGLOTS[name]
    make, media_type = samples.PICTURES[sample]
    path.write_bytes(hidden(make()))
    assert PAYLOAD in path.read_bytes()

    made = [
        await renderer.render(path, media_type, Preset("small", 48, 48), each) for each in (Format.WEBP, Format.JPEG)
    ]
    normal = await renderer.normalise(path, media_type, Normalisation())
    assert normal is not None, "it complies as it is"
    for each in (*made, normal):
        assert PAYLOAD not in each.content
        assert b"PK\x03\x04" not in each.content
        assert b"<script" not in each.content.lower()
    path.write_bytes(normal.content)
    assert await renderer.normalise(path, media_type, Normalisation()) is None


async def test_many_pictures_at_once_leave_the_event_loop_alone(renderer: VipsRenderer, path: Path) -> None:
    path.write_bytes(saved(pictures.photograph(200, 150), ".jpg"))
    done = 0

    async def make() -> None:
        nonlocal done
        await renderer.render(path, "image/jpeg", Preset("small", 96, 96), Format.JPEG)
        done += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(make)
    assert done == 12
