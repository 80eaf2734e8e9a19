"""What goes in comes out: real media in each of three ways, on a folder and on S3; files larger than memory likes."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import httpx
import pytest

from service.adapters.s3.client import connect
from tests import samples
from tests.parts.blobs import MIB, large
from tests.parts.buckets import config_for
from tests.parts.caller import Caller, sha256_of
from tests.parts.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from tests.parts.service import Refkeep, Yard

BUCKET = "refkeep-service"
LARGE_MIB = 300
MEMORY_MIB = 64
BOUNDARY = "a-boundary-of-the-tests"

KINDS: dict[str, tuple[Callable[[], bytes], dict[str, Any]]] = {
    "photograph": (samples.photograph, {"media_type": "image/jpeg", "width": 1600, "height": 1200, "frames": 1}),
    "png": (samples.png, {"media_type": "image/png", "width": 96, "height": 64, "frames": 1}),
    "webp": (samples.webp, {"media_type": "image/webp", "width": 96, "height": 64, "frames": 1}),
    "animated_gif": (samples.animated_gif, {"media_type": "image/gif", "width": 32, "height": 24, "frames": 4}),
    "avif": (samples.avif, {"media_type": "image/avif", "width": 96, "height": 64, "frames": 1}),
    "mp4": (samples.mp4, {"media_type": "video/mp4", "width": 64, "height": 48, "duration_ms": 1000}),
    "text": (samples.text, {"media_type": "text/plain", "readable": None}),
}
NOTHING_FOUND = {"width": None, "height": None, "frames": None, "duration_ms": None, "readable": True}
WAYS = ["put", "post", "form"]


@pytest.fixture(scope="module")
def on_s3(yard: Yard, seaweed: Seaweed) -> Iterator[Refkeep]:
    """A service on a bucket of its own."""
    asyncio.run(_make_bucket(seaweed))
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    with yard.running(STORAGE="s3", S3_BUCKET=BUCKET, S3_ENDPOINT_URL=seaweed.url, **keys) as started:
        yield started


async def _make_bucket(seaweed: Seaweed) -> None:
    async with connect(config_for(seaweed)) as client:
        await client.create_bucket(Bucket=BUCKET)


@pytest.fixture(params=["service", "on_s3"], ids=["filesystem", "s3"])
def store(request: pytest.FixtureRequest) -> Refkeep:
    started: Refkeep = request.getfixturevalue(request.param)
    return started


def send(caller: Caller, way: str, content: bytes) -> httpx.Response:
    if way == "put":
        return caller.http.put(f"/blobs/{sha256_of(content)}", content=content)
    if way == "post":
        return caller.http.post("/blobs", content=content)
    return caller.http.post("/blobs", files={"file": ("whatever", content)})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_media_come_out_as_they_went_in(store: Refkeep, kind: str, way: str) -> None:
    make, found = KINDS[kind]
    caller, content = store.caller("read", "write"), make()
    name = sha256_of(content)

    sent = send(caller, way, content)

    assert sent.status_code == 201, sent.text
    facts = {"sha256": name, "size": len(content), **NOTHING_FOUND, **found}
    assert sent.json()["decision"] == "insert"
    assert sent.json()["blob"] == facts | {"placeholder": (placeholder := sent.json()["blob"]["placeholder"])}
    assert (placeholder is None) == (kind == "text")
    if way != "put":
        assert sent.headers["location"] == f"/blobs/{name}"

    got = caller.http.get(f"/blobs/{name}")
    assert got.content == content
    assert got.headers["etag"] == f'"{name}"'
    assert got.headers["content-type"].partition(";")[0] == found["media_type"]
    assert got.headers["repr-digest"] == f"sha-256=:{b64encode(bytes.fromhex(name)).decode()}:"

    meta = caller.http.get(f"/blobs/{name}/meta").json()
    assert {member: meta[member] for member in facts} == facts
    assert meta["refs"] == []

    again = send(caller, way, content)
    assert (again.status_code, again.json()["decision"], again.json()["blob"]) == (
        200,
        "duplicate",
        sent.json()["blob"],
    )


def test_a_part_of_a_blob_is_that_part(store: Refkeep) -> None:
    caller, content = store.caller("read", "write"), samples.photograph()
    name = caller.upload(content)
    part = caller.http.get(f"/blobs/{name}", headers={"range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, content[1000:2000])
    assert part.headers["content-range"] == f"bytes 1000-1999/{len(content)}"
    known = caller.http.get(f"/blobs/{name}", headers={"if-none-match": f'"{name}"'})
    assert (known.status_code, known.content) == (304, b"")
    head = caller.http.head(f"/blobs/{name}")
    assert (head.headers["content-length"], head.content) == (str(len(content)), b"")


def test_an_empty_file_is_a_file(store: Refkeep) -> None:
    caller = store.caller("read", "write")
    name = caller.upload(b"")
    got = caller.http.get(f"/blobs/{name}")
    assert (got.status_code, got.content, got.headers["content-length"]) == (200, b"", "0")


@pytest.fixture(scope="module")
def large_sha256() -> str:
    digest = sha256()
    for piece in large(LARGE_MIB):
        digest.update(piece)
    return digest.hexdigest()


def send_large(caller: Caller, way: str, name: str) -> httpx.Response:
    if way == "put":
        length = {"content-length": str(LARGE_MIB * MIB)}
        return caller.http.put(f"/blobs/{name}", content=large(LARGE_MIB), headers=length)
    if way == "post":
        return caller.http.post("/blobs", content=large(LARGE_MIB))
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    return caller.http.post("/blobs", content=_large_form(), headers=headers)


def _large_form() -> Iterator[bytes]:
    yield f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'.encode()
    yield from large(LARGE_MIB)
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def sha256_of_answer(caller: Caller, name: str) -> str:
    digest = sha256()
    with caller.http.stream("GET", f"/blobs/{name}") as response:
        for piece in response.iter_raw():
            digest.update(piece)
    return digest.hexdigest()


@pytest.mark.parametrize(("store", "way"), [("service", way) for way in WAYS] + [("on_s3", "put")], indirect=["store"])
def test_a_large_file_needs_little_memory(store: Refkeep, way: str, large_sha256: str) -> None:
    caller = store.caller("read", "write")
    growth = store.restart_memory_watch()

    sent = send_large(caller, way, large_sha256)

    assert sent.status_code == 201, sent.text
    assert (sent.json()["blob"]["sha256"], sent.json()["blob"]["size"]) == (large_sha256, LARGE_MIB * MIB)
    assert sha256_of_answer(caller, large_sha256) == large_sha256
    assert growth() < MEMORY_MIB * MIB
