"""Everyone's client uploads: curl, httpx, requests, aiohttp, urllib, a browser's form; and sockets that misbehave."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import httpx
import pytest
import requests

from tests.parts.blobs import MIB, large
from tests.parts.caller import Caller, problem, sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.service import Refkeep, eventually
from tests.parts.wire import Wire, bearer, chunked, connected, head

COVER = "/refs/book/42/cover"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A JPEG that nobody has sent, as a file."""
    path = tmp_path / "cover.jpg"
    path.write_bytes(fresh_jpeg())
    return path


def must_be_attached(caller: Caller, picture: Path, status: int, answer: Any) -> None:
    """The answer says so, and the picture can be fetched."""
    assert status == 201, answer
    ref = answer["ref"]
    assert ref["blob"]["sha256"] == sha256_of(picture.read_bytes())
    assert caller.http.get(ref["links"]["file"]).content == picture.read_bytes()


# --- curl -------------------------------------------------------------------------------------------------------------


def curl(caller: Caller, *words: str | Path, stdin: bytes | None = None) -> tuple[dict[str, Any], Any]:
    """What curl writes about the transfer, and the JSON that it got."""
    command = [
        "curl",
        "-sS",
        "--max-time",
        "20",
        "-H",
        f"Authorization: Bearer {caller.token}",
        "-w",
        r"\n%{json}",
        *words,
    ]
    done = subprocess.run(command, input=stdin, capture_output=True, check=True)
    body, _, report = done.stdout.rpartition(b"\n")
    return json.loads(report), json.loads(body) if body else None


@pytest.mark.parametrize(
    "words",
    [
        ["-T", "{file}", "{url}/0"],
        ["-T", "{file}", "-H", "Transfer-Encoding: chunked", "{url}/0"],
        ["--data-binary", "@{file}", "-H", "Content-Type: image/jpeg", "{url}"],
        ["--data-binary", "@{file}", "{url}"],
        ["-X", "PUT", "--data-binary", "@{file}", "-H", "Content-Type: image/jpeg", "{url}/0?alt=A%20cover"],
        ["-F", "file=@{file}", "{url}"],
        ["-F", "alt=A cover", "-F", "visibility=private", "-F", "file=@{file};type=image/jpeg", "{url}"],
        ["-X", "PUT", "-F", "file=@{file};filename=other.jpg", "{url}/0"],
        ["-T", "{file}", "-H", "Expect: 100-continue", "{url}/0"],
        ["--http1.0", "-T", "{file}", "{url}/0"],
    ],
    ids=lambda words: " ".join(words[:-1]),
)
def test_curl_uploads_and_attaches(acme: Caller, picture: Path, words: list[str]) -> None:
    url = f"{acme.http.base_url}{COVER}"
    report, answer = curl(acme, *(word.format(file=picture, url=url) for word in words))
    must_be_attached(acme, picture, report["http_code"], answer)


def test_curl_uploads_what_it_reads_from_a_pipe(acme: Caller) -> None:
    content = fresh_text(3 * MIB)
    url = f"{acme.http.base_url}/blobs/{sha256_of(content)}"
    report, answer = curl(acme, "-T", "-", url, stdin=content)
    assert (report["http_code"], answer["blob"]["size"]) == (201, len(content))


def test_curl_sends_the_bytes_of_a_large_file_once(acme: Caller, tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(fresh_text(5 * MIB))
    url = f"{acme.http.base_url}/blobs/{sha256_of(path.read_bytes())}"
    expect = ("-T", path, "-H", "Expect: 100-continue", "--expect100-timeout", "10", url)

    first, _ = curl(acme, *expect)
    second, answer = curl(acme, *expect)

    assert (first["http_code"], first["size_upload"]) == (201, 5 * MIB)
    assert (second["http_code"], second["size_upload"]) == (200, 0)
    assert answer["decision"] == "duplicate"


def test_curl_downloads_and_resumes(acme: Caller, tmp_path: Path) -> None:
    content = fresh_text(2 * MIB)
    url, path = f"{acme.http.base_url}/blobs/{acme.upload(content)}", tmp_path / "resumed"
    path.write_bytes(content[: MIB + 17])
    curl(acme, "-o", path, "-C", "-", url)
    assert path.read_bytes() == content


# --- libraries --------------------------------------------------------------------------------------------------------


def pieces_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(777):
            yield piece


async def pieces_in_time(path: Path) -> AsyncIterator[bytes]:
    for piece in pieces_of(path):
        yield piece


def with_httpx(url: str, headers: dict[str, str], path: Path, way: str) -> tuple[int, Any]:
    if way == "form":
        with path.open("rb") as file:
            response = httpx.post(url, headers=headers, data={"alt": "a"}, files={"file": file})
    else:
        content = path.read_bytes() if way == "whole" else pieces_of(path)
        response = httpx.put(f"{url}/0", headers=headers, content=content)
    return response.status_code, response.json()


def with_requests(url: str, headers: dict[str, str], path: Path, way: str) -> tuple[int, Any]:
    if way == "form":
        with path.open("rb") as file:
            response = requests.post(url, headers=headers, data={"alt": "a"}, files={"file": file}, timeout=20)
    elif way == "whole":
        with path.open("rb") as file:
            response = requests.put(f"{url}/0", headers=headers, data=file, timeout=20)
    else:
        response = requests.put(f"{url}/0", headers=headers, data=pieces_of(path), timeout=20)
    return response.status_code, response.json()


def with_urllib(url: str, headers: dict[str, str], path: Path, way: str) -> tuple[int, Any]:
    body: Any = {"whole": path.read_bytes, "stream": lambda: pieces_of(path), "form": path.read_bytes}[way]()
    named = {**headers, "Content-Type": "image/jpeg"}
    if way == "form":
        opening = b'--b\r\nContent-Disposition: form-data; name="file"; filename="c.jpg"\r\n\r\n'
        body, named["Content-Type"] = opening + body + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"
    request = urllib.request.Request(f"{url}/0", data=body, headers=named, method="PUT")
    with urllib.request.urlopen(request, timeout=20) as response:
        return response.status, json.load(response)


@pytest.mark.parametrize("way", ["whole", "stream", "form"])
@pytest.mark.parametrize("send", [with_httpx, with_requests, with_urllib], ids=lambda send: send.__name__)
def test_a_library_uploads_and_attaches(
    acme: Caller, service: Refkeep, picture: Path, send: Callable[..., tuple[int, Any]], way: str
) -> None:
    headers = {"Authorization": f"Bearer {acme.token}"}
    must_be_attached(acme, picture, *send(f"{service.url}{COVER}", headers, picture, way))


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["whole", "stream", "form", "expect"])
async def test_aiohttp_uploads_and_attaches(acme: Caller, service: Refkeep, picture: Path, way: str) -> None:
    headers = {"Authorization": f"Bearer {acme.token}"}
    async with aiohttp.ClientSession(service.url, headers=headers) as session:
        match way:
            case "form":
                form = aiohttp.FormData()
                form.add_field("alt", "a")
                form.add_field("file", picture.read_bytes(), filename="c.jpg", content_type="image/jpeg")
                request = session.post(COVER, data=form)
            case "stream":
                request = session.put(f"{COVER}/0", data=pieces_in_time(picture))
            case _:
                request = session.put(f"{COVER}/0", data=picture.read_bytes(), expect100=way == "expect")
        async with request as response:
            must_be_attached(acme, picture, response.status, await response.json())


@pytest.mark.anyio
async def test_many_clients_upload_at_once(acme: Caller, service: Refkeep) -> None:
    contents = [fresh_text(100_000) for _ in range(40)]
    async with httpx.AsyncClient(base_url=service.url, headers=acme.http.headers, timeout=20) as client:
        statuses: list[int] = []

        async def send(content: bytes) -> None:
            statuses.append((await client.put(f"/blobs/{sha256_of(content)}", content=content)).status_code)

        async with anyio.create_task_group() as group:
            for content in contents:
                group.start_soon(send, content)
    assert statuses == [201] * 40
    asked = {"sha256": [sha256_of(content) for content in contents]}
    assert acme.http.post("/blobs/missing", json=asked).json() == {"missing": []}


def test_a_browsers_form_is_understood(acme: Caller, picture: Path) -> None:
    """As Chrome and Firefox send it: members first, raw UTF-8 in the name, a quotation mark as %22 (WHATWG HTML)."""
    boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
    members = [("alt", "Größe “M”"), ("owner", ""), ("visibility", "private")]
    body = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in members
    ).encode()
    body += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="Umschlag für 本 %22neu%22.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    body += picture.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    headers = {"content-type": f"multipart/form-data; boundary={boundary}", "origin": "https://example.org"}

    response = acme.http.post(COVER, content=body, headers=headers)

    must_be_attached(acme, picture, response.status_code, response.json())
    ref = response.json()["ref"]
    assert (ref["alt"], ref["visibility"]) == ("Größe “M”", "private")
    assert ref["filename"] == 'Umschlag für 本 "neu".jpg'


# --- Expect: 100-continue ---------------------------------------------------------------------------------------------


def expecting(caller: Caller, content: bytes) -> bytes:
    headers = {**bearer(caller.token), "Content-Length": len(content), "Expect": "100-continue"}
    return head("PUT", f"/blobs/{sha256_of(content)}", headers)


def must_answer(wire: Wire, status: int) -> Any:
    answer = wire.response()
    assert answer is not None, "the connection ended without an answer"
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def test_held_bytes_are_answered_before_they_are_sent(acme: Caller, service: Refkeep) -> None:
    content = fresh_text(MIB)
    acme.upload(content)
    before = service.contents()
    with connected(service.port) as wire:
        wire.send(expecting(acme, content))
        assert must_answer(wire, 200)["decision"] == "duplicate"
    assert not service.added_since(before)


def test_bytes_that_are_not_held_are_asked_for(acme: Caller, service: Refkeep) -> None:
    content = fresh_text()
    with connected(service.port) as wire:
        wire.send(expecting(acme, content))
        must_answer(wire, 100)
        wire.send(content)
        assert must_answer(wire, 201)["decision"] == "insert"


def test_bytes_that_come_though_nobody_asked_are_verified_again(acme: Caller) -> None:
    content = fresh_text()
    name = acme.upload(content)
    assert acme.http.put(f"/blobs/{name}", content=content).json()["decision"] == "duplicate"
    problem(acme.http.put(f"/blobs/{name}", content=content[:-1]), 422, "digest-mismatch")
    assert acme.http.get(f"/blobs/{name}").content == content


@pytest.mark.parametrize("status", [401, 413])
def test_a_refusal_comes_before_the_body_is_asked_for(acme: Caller, service: Refkeep, status: int) -> None:
    key = bearer(acme.token) if status == 413 else {}
    length = 100 if status == 401 else 6 << 30
    with connected(service.port) as wire:
        wire.send(head("POST", "/blobs", {**key, "Content-Length": length, "Expect": "100-continue"}))
        must_answer(wire, status)


# --- sockets ----------------------------------------------------------------------------------------------------------


def uploading(caller: Caller, content: bytes) -> bytes:
    headers = {**bearer(caller.token), "Content-Length": len(content)}
    return head("PUT", f"/blobs/{sha256_of(content)}", headers) + content


def test_pipelined_requests_are_answered_in_order(acme: Caller, service: Refkeep) -> None:
    content = fresh_text()
    getting = head("GET", f"/blobs/{sha256_of(content)}", bearer(acme.token))
    with connected(service.port) as wire:
        wire.send(getting + uploading(acme, content) + getting + head("GET", "/livez"))
        must_answer(wire, 404)
        must_answer(wire, 201)
        answer = wire.response()
        assert answer is not None
        assert answer.content == content
        assert must_answer(wire, 200) == {"status": "alive"}


def test_chunks_of_every_size_make_one_body(acme: Caller, service: Refkeep) -> None:
    content = fresh_text(10_000)
    cuts = [0, 1, 2, 10, 1000, 4096, 10_000]
    chunks = [content[start:end] for start, end in pairwise(cuts)]
    headers = {**bearer(acme.token), "Transfer-Encoding": "chunked"}
    with connected(service.port) as wire:
        wire.send(head("PUT", f"/blobs/{sha256_of(content)}", headers))
        for byte in chunked(*chunks)[:200]:
            wire.send(bytes([byte]))
        wire.send(chunked(*chunks)[200:])
        must_answer(wire, 201)


def test_an_upload_of_a_client_that_half_closes_is_kept_whole_or_not_at_all(acme: Caller, service: Refkeep) -> None:
    """The server takes the end of sending for a goodbye and drops its answer; what it was about is not half done."""
    before, contents = service.contents(), [fresh_text(MIB) for _ in range(10)]
    for content in contents:
        with connected(service.port) as wire:
            wire.send(uploading(acme, content))
            wire.end_of_sending()
            wire.response()
    asked = {"sha256": [sha256_of(content) for content in contents]}

    def is_settled() -> bool:
        kept = len(contents) - len(acme.http.post("/blobs/missing", json=asked).json()["missing"])
        added = service.added_since(before)
        return all(added[part] == kept for part in ("objects", "blobs", "holdings", "files"))

    eventually(is_settled, 10)


def test_more_bytes_than_declared_are_no_part_of_the_body(acme: Caller, service: Refkeep) -> None:
    content = fresh_text()
    with connected(service.port) as wire:
        wire.send(uploading(acme, content) + b"and more, which is no request\r\n\r\n")
        assert must_answer(wire, 201)["blob"]["size"] == len(content)
        must_answer(wire, 400)
        assert wire.closed()


@pytest.mark.parametrize(
    "headers",
    [{"Content-Length": "3, 4"}, {"Content-Length": "-3"}, {"Content-Length": "three"}, {"Transfer-Encoding": "gzip"}],
    ids=str,
)
def test_an_unclear_length_is_refused_and_ends_the_connection(
    acme: Caller, service: Refkeep, headers: dict[str, str]
) -> None:
    before = service.contents()
    with connected(service.port) as wire:
        wire.send(head("POST", "/blobs", {**bearer(acme.token), **headers}) + b"abcd")
        answer = wire.response()
        assert answer is not None
        assert answer.status_code == 400
    assert not service.added_since(before)


EXPECTED = {"Expect": "100-continue"}  # the answer says that the request has begun: a reset may overtake what is unread


@pytest.mark.parametrize("path", ["/blobs", f"{COVER}/0"])
@pytest.mark.parametrize("size", [1000, 3 * MIB])
def test_an_aborted_upload_leaves_nothing(acme: Caller, service: Refkeep, path: str, size: int) -> None:
    before = service.contents()
    request_id = f"aborted-{sha256_of(fresh_text())[:12]}"
    headers = {**bearer(acme.token), **EXPECTED, "Content-Length": 2 * size, "X-Request-ID": request_id}
    with connected(service.port) as wire:
        wire.send(head("POST" if path == "/blobs" else "PUT", path, headers))
        assert wire.socket.recv(100).startswith(b"HTTP/1.1 100 ")
        wire.send(bytes(size))
        wire.reset()
    eventually(lambda: outcome_of(service, request_id) == "client_aborted", 10)
    assert not service.added_since(before)
    assert acme.events() == []


def test_an_aborted_form_leaves_nothing(acme: Caller, service: Refkeep) -> None:
    before = service.contents()
    kind = {
        "Content-Type": "multipart/form-data; boundary=b",
        "Transfer-Encoding": "chunked",
        "X-Request-ID": "cut-form",
    }
    with connected(service.port) as wire:
        opening = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + bytes(2 * MIB)
        wire.send(head("POST", COVER, {**bearer(acme.token), **EXPECTED, **kind}))
        assert wire.socket.recv(100).startswith(b"HTTP/1.1 100 ")
        wire.send(chunked(opening)[:-5])
        wire.reset()
    eventually(lambda: outcome_of(service, "cut-form") == "client_aborted", 10)
    assert not service.added_since(before)


def test_an_aborted_download_ends_and_harms_nobody(acme: Caller, service: Refkeep) -> None:
    name = acme.http.post("/blobs", content=large(32)).json()["blob"]["sha256"]
    headers = {**bearer(acme.token), "Range": "bytes=1-", "X-Request-ID": "cut-download"}
    with connected(service.port) as wire:
        wire.send(head("GET", f"/blobs/{name}", headers))
        assert wire.socket.recv(MIB)
        wire.reset()
    eventually(lambda: outcome_of(service, "cut-download") == "client_aborted", 10)
    assert acme.http.get(f"/blobs/{name}", headers={"range": "bytes=-5"}).status_code == 206


def outcome_of(service: Refkeep, request_id: str) -> str | None:
    """How the log says that the request ended."""
    for line in service.log.read_text().splitlines():
        if request_id in line and '"request_completed"' in line:
            outcome: str = json.loads(line)["outcome"]
            return outcome
    return None


def test_the_picture_of_the_readme_opens_in_a_browser(acme: Caller, anyone: Caller) -> None:
    photograph = fresh_jpeg(1600, 1200)
    ref = acme.put("book/42/cover/0", photograph, filename="cover.jpg").json()["ref"]
    page = anyone.http.get(
        ref["links"]["file"], headers={"accept": "image/avif,image/webp,*/*", "sec-fetch-dest": "image"}
    )
    assert page.content == photograph
    assert page.headers["content-type"] == "image/jpeg"
    assert page.headers["content-disposition"].startswith("inline")
    assert page.headers["cross-origin-resource-policy"] == "cross-origin"
