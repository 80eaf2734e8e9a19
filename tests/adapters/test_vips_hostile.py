"""Hundreds of damaged files of each format: always an answer, never a fault."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import psutil
import pytest
import pyvips

from service.adapters.vips.prober import VipsProber
from service.domain.blob import MediaInfo
from service.domain.errors import DimensionsExceeded
from service.domain.policy import refusal_of
from service.schemas.policy_file import load_policies
from tests import samples

pytestmark = pytest.mark.anyio

FORMATS = samples.PICTURES | samples.FILMS | samples.SOUNDS
DAMAGES = 200


@pytest.fixture(scope="module")
async def prober() -> AsyncIterator[VipsProber]:
    async with contextlib.aclosing(VipsProber()) as prober:
        yield prober


def damaged(data: bytes, chance: random.Random) -> bytes:
    """`data` cut off, with a bit turned, a piece overwritten, doubled or lost; mostly near the header."""
    at = chance.randrange(min(len(data), chance.choice([64, 512, len(data)])))
    length = chance.choice([1, 4, 16, 256])
    match chance.randrange(5):
        case 0:
            return data[: max(12, at)]
        case 1:
            return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        case 2:
            return data[:at] + chance.choice([b"\0", b"\xff", b"\x7f"]) * length + data[at + length :]
        case 3:
            return data[:at] + data[at : at + length] * 2 + data[at + length :]
        case _:
            return data[:at] + chance.randbytes(length) + data[at + 2 * length :]


def damages(name: str) -> Iterator[bytes]:
    chance = random.Random(name)
    return (damaged(FORMATS[name][0](), chance) for _ in range(DAMAGES))


@pytest.mark.parametrize("name", FORMATS)
async def test_damaged_bytes_are_an_answer_in_bounded_time(prober: VipsProber, tmp_path: Path, name: str) -> None:
    queue = iter(list(enumerate(damages(name))))
    answers = []

    async def work() -> None:
        for number, data in queue:
            path = tmp_path / str(number)
            path.write_bytes(data)
            answers.append(await prober.probe(path))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            tasks.start_soon(work)

    assert len(answers) == DAMAGES
    assert all(answer.readable in {True, False, None} for answer in answers)
    assert sum(answer.readable is not True for answer in answers) > DAMAGES // 20


async def test_a_picture_cannot_make_the_prober_open_other_files(prober: VipsProber, tmp_path: Path) -> None:
    """libvips reads lists of files, and formats that name files: none of them is even tried."""
    secret = tmp_path / "secret.png"
    secret.write_bytes(samples.png())
    lists = [f"{secret}\n".encode(), f"#EXTM3U\n{secret}\n".encode(), f"ffconcat version 1.0\nfile {secret}\n".encode()]
    for number, data in enumerate(lists):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(data)
        assert (await prober.probe(path)).width is None


async def test_a_path_with_libvips_options_is_only_a_path(prober: VipsProber, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg[shrink=8]"
    path.write_bytes(samples.jpeg())

    found = await prober.probe(path)

    assert (found.width, found.readable) == (96, True)


async def test_every_byte_value_anywhere_in_the_first_bytes_is_an_answer(prober: VipsProber, tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    for first, second in itertools.product((0x00, 0x1A, 0x42, 0x47, 0x52, 0x89, 0xFF), range(0, 256, 5)):
        path.write_bytes(bytes([first, second]) + b"\x10\x20RIFF")
        assert "/" in (await prober.probe(path)).media_type


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
async def test_a_large_picture_is_read_in_bounded_memory(prober: VipsProber, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "large"
    picture = pyvips.Image.black(8160, 6120, bands=3).copy(interpretation="srgb")
    path.write_bytes(picture.write_to_buffer(suffix, **({"effort": 0} if suffix == ".webp" else {})))

    found = await prober.probe(path)

    assert (found.width, found.height, found.readable) == (8160, 6120, True)


@pytest.mark.parametrize("role", ["book/cover", "checkpoint_marker/image", "block/image"])
async def test_a_bomb_costs_no_work_and_is_refused_for_its_dimensions(tmp_path: Path, role: str) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(samples.png_bomb())
    others = set(psutil.Process().children())
    async with contextlib.aclosing(VipsProber()) as prober:
        await prober.warm()
        (child,) = set(psutil.Process().children()) - others
        before = child.cpu_times()
        found = await prober.probe(path)
        after = child.cpu_times()

    assert (after.user + after.system) - (before.user + before.system) < 0.05
    refusal = refusal_of(load_policies(None).of(*role.split("/")), path.stat().st_size, found)
    assert isinstance(refusal, DimensionsExceeded)


async def test_without_the_extra_a_film_has_a_type_and_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.adapters.vips.prober.find_spec", lambda _: None)
    path = tmp_path / "film"
    path.write_bytes(samples.mp4())
    async with contextlib.aclosing(VipsProber()) as prober:
        assert await prober.probe(path) == MediaInfo("video/mp4")
