"""Upload forms as streams, as every client sends them."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import aiohttp
import httpx
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import BadName, BadRequest
from service.router.multipart import is_form, open_form

pytestmark = pytest.mark.anyio

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"
PHOTO = b"\xff\xd8\xff\r\n--" + BOUNDARY.encode()[:-1] + b"\r\n\x00--\r\n\r" * 3
"""Bytes that look like a boundary wherever they can."""


@dataclass(frozen=True)
class Received:
    fields: Mapping[str, str]
    filename: str | None
    media_type: str | None
    content: bytes


async def chunked(body: bytes, sizes: list[int]) -> AsyncIterator[bytes]:
    start = 0
    for size in sizes:
        if start < len(body):
            yield body[start : start + size]
            start += size
    if start < len(body):
        yield body[start:]


async def receive(content_type: str, body: bytes, sizes: list[int] | None = None) -> Received:
    form = await open_form(content_type, chunked(body, sizes or []))
    content = b"".join([chunk async for chunk in form.file])
    return Received(form.fields, form.filename, form.media_type, content)


def part(headers: str, content: bytes) -> bytes:
    return f"--{BOUNDARY}\r\n{headers}\r\n\r\n".encode() + content + b"\r\n"


def text(name: str, content: bytes) -> bytes:
    return part(f'Content-Disposition: form-data; name="{name}"', content)


def file(content: bytes = PHOTO, filename: str = "photo.jpg") -> bytes:
    return part(
        f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: image/jpeg', content
    )


END = f"--{BOUNDARY}--\r\n".encode()
EXPECTED = Received({"alt": "A cat, naïve", "position": "0"}, "phöto.jpg", "image/jpeg", PHOTO)
FIELDS = {"alt": "A cat, naïve", "position": "0"}


def from_browser() -> tuple[str, bytes]:
    return TYPE, text("alt", "A cat, naïve".encode()) + text("position", b"0") + file(filename="phöto.jpg") + END


def from_curl() -> tuple[str, bytes]:
    """As `curl -F 'alt=…' -F position=0 -F file=@phöto.jpg` sends it."""
    boundary = "------------------------d74496d66958873e"
    content_type, body = from_browser()
    return content_type.replace(BOUNDARY, boundary), body.replace(
        b"--" + BOUNDARY.encode() + b"\r\nC", f"--{boundary}\r\nC".encode()
    ).replace(END, f"--{boundary}--\r\n".encode())


def from_requests() -> tuple[str, bytes]:
    files = {"file": ("phöto.jpg", io.BytesIO(PHOTO), "image/jpeg")}
    sent = requests.Request("POST", "http://refkeep/blobs", data=FIELDS, files=files).prepare()
    assert isinstance(sent.body, bytes)
    return sent.headers["Content-Type"], sent.body


def from_httpx() -> tuple[str, bytes]:
    sent = httpx.Request(
        "POST", "http://refkeep/blobs", data=FIELDS, files={"file": ("phöto.jpg", PHOTO, "image/jpeg")}
    )
    return sent.headers["Content-Type"], sent.read()


async def from_aiohttp() -> tuple[str, bytes]:
    form = aiohttp.FormData(quote_fields=False)
    for name, value in FIELDS.items():
        form.add_field(name, value)
    form.add_field("file", PHOTO, filename="phöto.jpg", content_type="image/jpeg")
    payload = form()
    return str(payload.headers["Content-Type"]), await payload.as_bytes()


@pytest.mark.parametrize("client", [from_browser, from_curl, from_requests, from_httpx])
@given(sizes=st.lists(st.integers(1, 60), max_size=80))
async def test_a_form_is_read_alike_from_every_client_and_in_any_chunks(
    client: Callable[[], tuple[str, bytes]], sizes: list[int]
) -> None:
    assert await receive(*client(), sizes) == EXPECTED


async def test_a_form_is_read_from_aiohttp() -> None:
    content_type, body = await from_aiohttp()
    assert await receive(content_type, body, [1] * len(body)) == EXPECTED


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=60))
async def test_a_file_arrives_byte_for_byte_in_any_chunks(content: bytes, sizes: list[int]) -> None:
    assert (await receive(TYPE, file(content) + END, sizes)).content == content


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=60))
async def test_hostile_bytes_are_refused_alike_in_any_chunks(noise: bytes, sizes: list[int]) -> None:
    async def outcome(body: bytes, sizes: list[int]) -> Received | type[Exception]:
        try:
            return await receive(TYPE, body, sizes)
        except (BadRequest, BadName) as error:
            return type(error)

    for body in (noise, file() + noise, text("alt", noise) + file(noise) + END + noise, noise + file() + END):
        assert await outcome(body, sizes) == await outcome(body, [])


@given(st.data())
async def test_a_truncated_form_never_looks_complete(data: st.DataObject) -> None:
    body = text("alt", b"x") + file() + END.removesuffix(b"\r\n")
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(BadRequest):
        await receive(TYPE, body[:cut])


async def test_the_file_is_handed_on_while_it_comes_in() -> None:
    asked = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal asked
        for chunk in (file(b"a" * 100)[:-2], *[b"b" * 100] * 10, b"\r\n" + END):
            asked += 1
            yield chunk

    form = await open_form(TYPE, counted())
    assert asked == 1
    assert [asked async for _ in form.file][:3] == [1, 2, 3]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (file() + file() + END, "two parts named file"),
        (file() + text("alt", b"late") + END, "before the part named file"),
        (text("alt", b"x") + END, "no part named file"),
        (END, "no part named file"),
        (text("owner", b"a") + text("owner", b"b") + file() + END, "two parts named owner"),
        (text("colour", b"red") + file() + END, "unknown part 'colour'"),
        (text("", b"red") + file() + END, "unknown part ''"),
        (text("alt", b"x" * 4097) + file() + END, "exceeds 4096 bytes"),
        (text("alt", b"\xff") + file() + END, "no UTF-8"),
        (file(b"", "") + END, "no file chosen"),
        (b"preamble\r\n" + file() + END, "does not begin"),
        (b"", "does not begin"),
        (part("Content-Type: text/plain", b"x") + END, "malformed"),
        (part('Content-Disposition: form-data; name="file"\r\nContent-Length: 3', b"four") + END, "malformed"),
        (
            part('Content-Disposition: form-data; name="file"\r\nContent-Transfer-Encoding: base64', b"") + END,
            "RFC 7578",
        ),
        (part('Content-Disposition: form-data; name="file"\r\nX: ' + "x" * 5000, b"") + END, "malformed"),
        (file().replace(b"\r\n\r\n", b"\n\n", 1) + END, "malformed"),
    ],
)
async def test_a_bad_form_is_refused_with_a_sentence(body: bytes, sentence: str) -> None:
    with pytest.raises(BadRequest, match=sentence):
        await receive(TYPE, body)


async def test_a_second_file_is_noticed_after_the_first_ones_bytes() -> None:
    form = await open_form(TYPE, chunked(file(b"one") + file(b"two") + END, []))
    taken = []
    with pytest.raises(BadRequest):
        async for chunk in form.file:
            taken.append(chunk)  # noqa: PERF401 (what came before the error is the point)
    assert b"".join(taken) == b"one"


@pytest.mark.parametrize("filename", ["a%0Ab.jpg", "x" * 256])
async def test_a_bad_filename_is_refused_before_the_file(filename: str) -> None:
    with pytest.raises(BadName):
        await open_form(TYPE, chunked(file(filename=filename) + END, []))


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f'multipart/form-data; boundary="{"x" * 71}"',
        'multipart/form-data; boundary="a\tb"',
    ],
)
async def test_a_form_needs_a_valid_boundary(content_type: str) -> None:
    with pytest.raises(BadRequest, match="boundary"):
        await receive(content_type, file() + END)


async def test_what_is_legal_but_rare_is_read() -> None:
    quoted = f'Multipart/Form-Data; charset=utf-8; boundary="{BOUNDARY}"'
    bare = part('content-disposition: form-data; name="file"\r\nContent-Transfer-Encoding: binary', b"x")
    assert await receive(quoted, b"\r\n" + bare + END + b"epilogue") == Received({}, None, None, b"x")
    assert await receive(TYPE, bare + END.removesuffix(b"\r\n")) == Received({}, None, None, b"x")
    assert (await receive(TYPE, file(b"") + END)).content == b""


def test_a_form_is_known_by_its_content_type() -> None:
    assert is_form("Multipart/Form-Data ; boundary=x")
    assert not is_form("multipart/mixed; boundary=x")
    assert not is_form(None)
