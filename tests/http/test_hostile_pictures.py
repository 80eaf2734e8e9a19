"""Pictures that mean harm, through the whole service: a refusal in time, nothing foreign, and nobody else waits."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import samples
from tests.adapters.test_vips_renderer import PAYLOAD, POLYGLOTS
from tests.parts.caller import Caller, problem
from tests.parts.fresh import fresh_jpeg
from tests.parts.pictures import card, chunk, opened, saved, secretive

COVER = "book/66/cover/0"
REFUSED_WITHIN_S = 10
PLACE = b"52.5200N013.4050E"
ACCEPTS = {"avif": "image/avif", "webp": "image/webp", "jpg": "image/jpeg"}


def exif_with_a_place() -> bytes:
    """TIFF with a GPS directory of one reference, and the place behind it."""
    gps = struct.pack(">HHHI4sI", 1, 1, 2, 2, b"N\0\0\0", 0)
    return b"MM\0*\0\0\0\x08" + struct.pack(">HHHIII", 1, 0x8825, 4, 1, 26, 0) + gps + PLACE


def jpeg_with_a_thumbnail() -> bytes:
    data, thumbnail = saved(card(), ".jpg", keep="none"), saved(card(24, 16), ".jpg")
    segment = b"Exif\0\0" + exif_with_a_place() + thumbnail
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def png_with(kind: bytes, content: bytes) -> bytes:
    data = saved(card(), ".png", keep="none")
    return data[:33] + chunk(kind, content) + data[33:]


def webp_with(kind: bytes, content: bytes, flag: int) -> bytes:
    data = saved(card().addalpha(), ".webp", keep="none", lossless=True)
    bits = data[12:] if data[12:16] != b"VP8X" else data[30:]
    extended = struct.pack("<4sII", b"VP8X", 10, flag | 0x10) + struct.pack("<I", 95)[:3] + struct.pack("<I", 63)[:3]
    more = struct.pack("<4sI", kind, len(content)) + content + b"\0" * (len(content) % 2)
    body = b"WEBP" + extended + bits + more
    return b"RIFF" + struct.pack("<I", len(body)) + body


def avif_with_a_place() -> bytes:
    return saved(secretive(card()), ".avif", effort=0)


XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/' exif:GPSLatitude='52,31.2N'>" + PLACE + b"</x:xmpmeta>"
PLACES: dict[str, Callable[[], bytes]] = {
    "jpeg": jpeg_with_a_thumbnail,
    "png by exif": lambda: png_with(b"eXIf", exif_with_a_place()),
    "png by xmp": lambda: png_with(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    "png by text": lambda: png_with(b"tEXt", b"Raw profile type exif\0" + PLACE),
    "webp by exif": lambda: webp_with(b"EXIF", exif_with_a_place(), 0x08),
    "webp by xmp": lambda: webp_with(b"XMP ", XMP, 0x04),
    "avif": avif_with_a_place,
}
TELLTALES = (PLACE, b"GPS", b"Exif", b"eXIf", b"xmpmeta", b"SECRET")


def renditions(anyone: Caller, sha256: str) -> list[bytes]:
    """All that the service makes of a public cover, and the cover."""
    paths = [f"/blobs/{sha256}", *(f"/blobs/{sha256}/thumb.{each}" for each in ("avif", "webp"))]
    answers = [anyone.http.get(path) for path in paths]
    answers.append(anyone.http.get(f"/blobs/{sha256}/thumb", headers={"accept": "image/*;q=0.1"}))
    assert {answer.status_code for answer in answers} == {200}
    return [answer.content for answer in answers]


@pytest.mark.parametrize("name", PLACES)
def test_no_place_is_in_anything_public(acme: Caller, anyone: Caller, name: str) -> None:
    sent = PLACES[name]()
    assert any(each in sent for each in TELLTALES)
    ref = acme.put(COVER, sent).json()["ref"]
    assert ref["original"] is not None, "it complies as it is"
    for shown in renditions(anyone, ref["blob"]["sha256"]):
        assert not [each for each in TELLTALES if each in shown]
        assert opened(shown).width


@pytest.mark.parametrize("name", POLYGLOTS)
def test_nothing_foreign_is_in_anything_public(acme: Caller, anyone: Caller, name: str) -> None:
    sample, hidden = POLYGLOTS[name]
    sent = hidden(samples.PICTURES[sample][0]())
    answer = acme.put(COVER, sent)
    assert answer.status_code in {200, 201}, answer.text
    for shown in renditions(anyone, answer.json()["ref"]["blob"]["sha256"]):
        assert PAYLOAD not in shown


HARMFUL: dict[str, Callable[[], bytes]] = {
    "png bomb": samples.png_bomb,
    "gif bomb": samples.gif_bomb,
    "jpeg bomb": samples.jpeg_bomb,
    **{f"half a {name}": (lambda make=make: samples.truncated(make())) for name, (make, _) in samples.PICTURES.items()},  # type: ignore[misc]
}


def test_harmful_pictures_are_refused_in_time_and_nobody_waits(acme: Caller, globex: Caller) -> None:
    with ThreadPoolExecutor(4) as pool:
        began = time.monotonic()
        refusals = [pool.submit(acme.put, f"book/{n}/cover/0", make()) for n, make in enumerate(HARMFUL.values())]
        for number in range(5):
            assert globex.put(f"book/{number}/cover/0", fresh_jpeg()).status_code == 201
        for refusal in refusals:
            answer = refusal.result(REFUSED_WITHIN_S)
            assert answer.status_code == 422, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
        assert time.monotonic() - began < REFUSED_WITHIN_S


def test_what_is_no_picture_but_says_so_is_refused(acme: Caller) -> None:
    for make in (samples.svg, samples.html_named_jpg, samples.pdf):
        answer = acme.put(COVER, make(), {"content-type": "image/png"})
        assert answer.status_code in {415, 422}, answer.text
        problem(answer, answer.status_code, answer.json()["code"])
