"""What hides in pictures where decoders do not look is in nothing that is normalised, and the picture is."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from service.adapters.vips.renderer import VipsRenderer
from service.domain.rendition import Colour, Normalisation
from service.ports.renderer import Renderer
from tests import samples
from tests.parts.corners import UPRIGHT
from tests.parts.pictures import animation, card, chunk, corners, is_near, opened, photograph, saved

pytestmark = pytest.mark.anyio

HIDDEN = b"HIDDEN-52.5200N-013.4050E"


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    async with contextlib.aclosing(VipsRenderer()) as renderer:
        yield renderer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bytes"


def jpeg(**options: object) -> bytes:
    return saved(card(), ".jpg", keep="none", Q=95, **options)


def with_segment(marker: int, content: bytes) -> bytes:
    """Before the frame, so that tables are redefined or never used."""
    data = jpeg()
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + data[2:]


def with_huffman_codes_of_no_scan() -> bytes:
    return with_segment(0xC4, b"\x03" + bytes([*[0] * 7, len(HIDDEN), *[0] * 8]) + HIDDEN)


def before_the_end(data: bytes) -> bytes:
    return data[:-2] + HIDDEN + data[-2:]


def png_chunks(edit: Callable[[bytes, bytes], bytes], data: bytes) -> bytes:
    out, at = data[:8], 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        out, at = out + chunk(kind, edit(kind, data[at + 8 : at + 8 + length])), at + 12 + length
    return out


def longer_png(kind: bytes, data: bytes) -> bytes:
    return png_chunks(lambda found, content: content + HIDDEN if found == kind else content, data)


def png_behind_pixels(kind: bytes, content: bytes) -> bytes:
    data = saved(card(), ".png", keep="none")
    return data[:-12] + chunk(kind, content) + data[-12:]


def webp(**options: object) -> bytes:
    return saved(card(), ".webp", keep="none", **options)


def riff(chunks: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(kind + struct.pack("<I", len(each)) + each + b"\0" * (len(each) % 2) for kind, each in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def riff_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 12
    while at < len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        found.append((kind, data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return found


def longer_webp(kind: bytes, data: bytes) -> bytes:
    return riff([(found, each + HIDDEN if found == kind else each) for found, each in riff_chunks(data)])


def longer_frames() -> bytes:
    chunks = riff_chunks(moving_webp())

    def longer(frame: bytes) -> bytes:
        kind, length = struct.unpack_from("<4sI", frame, 16)
        inner = frame[24 : 24 + length] + HIDDEN
        return bytes(frame[:16] + kind + struct.pack("<I", len(inner)) + inner + b"\0" * (len(inner) % 2))

    return riff([(kind, longer(each) if kind == b"ANMF" else each) for kind, each in chunks])


def moving_webp() -> bytes:
    return saved(animation(width=96, height=64), ".webp", keep="none", lossless=True)


def half_clear_webp() -> bytes:
    return saved(card().bandjoin(128).copy(interpretation="srgb"), ".webp", keep="none")


def extended() -> bytes:
    size = struct.pack("<I", 95)[:3] + struct.pack("<I", 63)[:3]
    return riff([(b"VP8X", bytes(4) + size), *riff_chunks(webp())])


def gif_with(block: bytes, *, moving: bool = False) -> bytes:
    data = saved(animation(width=96, height=64) if moving else card(), ".gif", keep="none")
    at = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    return data[:at] + block + data[at:]


def pieces(content: bytes) -> bytes:
    return bytes([len(content)]) + content + b"\0"


def beside_the_screen() -> bytes:
    data = saved(card(), ".gif", keep="none")
    return (
        data[:-1]
        + b","
        + struct.pack("<HHHHB", 500, 500, 4, 4, 0)
        + b"\x02"
        + pieces(b"\x84\x8f\xa9\xcb" + HIDDEN)
        + b";"
    )


HIDING: dict[str, tuple[Callable[[], bytes], str]] = {
    "jpeg, quantisation of no component": (lambda: with_segment(0xDB, b"\x03" + HIDDEN.ljust(64, b"x")), "image/jpeg"),
    "jpeg, quantisation that is redefined": (lambda: with_segment(0xDB, b"\0" + HIDDEN.ljust(64, b"x")), "image/jpeg"),
    "jpeg, codes of no scan": (with_huffman_codes_of_no_scan, "image/jpeg"),
    "jpeg, twice jfif": (lambda: with_segment(0xE0, b"JFIF\0" + HIDDEN[:9]), "image/jpeg"),
    "jpeg, behind its scan": (lambda: before_the_end(jpeg()), "image/jpeg"),
    "jpeg, behind its scan, all colours": (lambda: before_the_end(jpeg(subsample_mode="off")), "image/jpeg"),
    "jpeg, behind its last restart": (lambda: before_the_end(jpeg(restart_interval=2)), "image/jpeg"),
    "progressive jpeg, behind its scans": (lambda: before_the_end(jpeg(interlace=True)), "image/jpeg"),
    "png, in its end": (lambda: longer_png(b"IEND", saved(card(), ".png", keep="none")), "image/png"),
    "png, behind its pixels": (lambda: png_behind_pixels(b"cHRM", HIDDEN.ljust(32)), "image/png"),
    "png, behind it": (lambda: png_behind_pixels(b"bKGD", HIDDEN[:6]), "image/png"),
    "apng, in a control": (lambda: longer_png(b"fcTL", samples.apng()), "image/apng"),
    "apng, in the control": (lambda: longer_png(b"acTL", samples.apng()), "image/apng"),
    "webp, behind its pixels": (lambda: longer_webp(b"VP8 ", webp()), "image/webp"),
    "lossless webp, behind its pixels": (lambda: longer_webp(b"VP8L", webp(lossless=True)), "image/webp"),
    "webp, behind its transparency": (lambda: longer_webp(b"ALPH", half_clear_webp()), "image/webp"),
    "webp, in its header": (lambda: longer_webp(b"VP8X", extended()), "image/webp"),
    "webp, another picture": (
        lambda: riff([*riff_chunks(webp()), (b"VP8 ", riff_chunks(webp())[0][1] + HIDDEN)]), "image/webp",
    ),
    "webp, in its animation's header": (lambda: longer_webp(b"ANIM", moving_webp()), "image/webp"),
    "webp, behind its frames": (longer_frames, "image/webp"),
    "gif, in a control": (lambda: gif_with(b"\x21\xf9" + pieces(bytes(4) + HIDDEN)), "image/gif"),
    "gif, in controls": (lambda: gif_with((b"\x21\xf9\x04" + HIDDEN[:4] + b"\0") * 9), "image/gif"),
    "gif, in its rounds": (
        lambda: gif_with(b"\x21\xff\x0bNETSCAPE2.0" + pieces(b"\1\0\0" + HIDDEN), moving=True), "image/gif",
    ),
    "gif, behind its rounds": (
        lambda: gif_with(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0" + pieces(HIDDEN), moving=True), "image/gif",
    ),
    "gif, beside the screen": (beside_the_screen, "image/gif"),
}  # fmt: skip


@pytest.mark.parametrize("name", HIDING)
async def test_what_no_decoder_looks_at_is_gone_and_the_picture_is_not(
    renderer: Renderer, path: Path, name: str
) -> None:
    sample, media_type = HIDING[name]
    sent = sample()
    assert HIDDEN[:4] in sent
    for rules in (Normalisation(), Normalisation(colour=Colour.KEEP)):
        path.write_bytes(sent)
        made = await renderer.normalise(path, media_type, rules)
        assert made is not None, "it complies as it is"
        assert HIDDEN[:4] not in made.content
        assert made.media.media_type in {media_type, "image/png"}
        assert media_type == "image/apng" or all(
            is_near(one[:3], other) for one, other in zip(corners(opened(made.content)), UPRIGHT, strict=True)
        )
        path.write_bytes(made.content)
        assert await renderer.normalise(path, made.media.media_type, rules) is None


async def test_the_light_of_a_screen_is_of_a_kept_profile(renderer: Renderer, path: Path) -> None:
    data = saved(card(), ".png", keep="none")
    path.write_bytes(data[:33] + chunk(b"cLLI", HIDDEN[:8]) + data[33:])
    made = await renderer.normalise(path, "image/png", Normalisation())
    assert made is not None
    assert made.content == data
    assert await renderer.normalise(path, "image/png", Normalisation(colour=Colour.KEEP)) is None


WRITTEN: dict[str, tuple[str, dict[str, object]]] = {
    "jpeg": (".jpg", {}),
    "progressive jpeg": (".jpg", {"interlace": True}),
    "jpeg of all colours": (".jpg", {"subsample_mode": "off"}),
    "jpeg with restarts": (".jpg", {"restart_interval": 3}),
    "jpeg by mozjpeg": (".jpg", {"interlace": True, "trellis_quant": True, "optimize_scans": True}),
    "webp": (".webp", {}),
    "thorough webp": (".webp", {"effort": 6, "Q": 40}),
    "lossless webp": (".webp", {"lossless": True}),
    "gif": (".gif", {}),
    "png": (".png", {}),
}


@pytest.mark.parametrize("name", WRITTEN)
async def test_what_encoders_write_is_never_taken_for_hiding(renderer: Renderer, path: Path, name: str) -> None:
    suffix, options = WRITTEN[name]
    media_type = {".jpg": "image/jpeg"}.get(suffix, f"image/{suffix[1:]}")
    for edge in range(1, 26, 4):
        path.write_bytes(saved(photograph(400, 300).crop(edge, 0, 5 * edge, 3 * edge), suffix, keep="none", **options))
        assert await renderer.normalise(path, media_type, Normalisation()) is None, edge
