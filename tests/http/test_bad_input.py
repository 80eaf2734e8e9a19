"""Bad bodies: each kind has its problem, nothing of it is left behind, and the service never breaks over it."""

from __future__ import annotations

import hashlib
import time
from base64 import b64encode
from collections.abc import Callable

import pytest

from service.commands.keys import workspaces
from tests import samples
from tests.parts.caller import Caller, problem, sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_png, fresh_text
from tests.parts.service import Refkeep
from tests.parts.wire import bearer, chunked, connected, exchange, head

COVER = "/refs/book/42/cover"
LIMIT = 1 << 20
NAME = "ab" * 32

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


@pytest.fixture
def sender(strict: Refkeep) -> Caller:
    return strict.caller("read", "write")


def form(*parts: tuple[str, bytes], boundary: str = "xyz", end: bool = True) -> tuple[dict[str, str], bytes]:
    """Headers and body of a form; each part is its headers' parameters and its content."""
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {parameters}\r\n\r\n".encode() + content + b"\r\n"
        for parameters, content in parts
    )
    closing = f"--{boundary}--\r\n".encode() if end else b""
    return {"content-type": f"multipart/form-data; boundary={boundary}"}, body + closing


# --- bytes that are not what they are said to be ----------------------------------------------------------------------


def test_a_wrong_hash_is_refused_with_both_hashes(acme: Caller) -> None:
    content = fresh_text()
    details = problem(acme.http.put(f"/blobs/{NAME}", content=content), 422, "digest-mismatch")
    assert (details["expected"], details["actual"]) == (NAME, sha256_of(content))
    assert problem(acme.http.get(f"/blobs/{sha256_of(content)}"), 404, "not-found")


def test_a_wrong_hash_beside_bytes_for_a_ref_is_refused(acme: Caller) -> None:
    content = fresh_jpeg()
    problem(acme.http.put(f"{COVER}/0", content=content, params={"sha256": NAME}), 422, "digest-mismatch")
    named = {"sha256": NAME}
    problem(acme.http.put(f"{COVER}/0", data=named, files={"file": content}), 422, "digest-mismatch")
    problem(acme.http.post("/blobs", data=named, files={"file": content}), 422, "digest-mismatch")
    assert acme.refs("book/42") == []


@pytest.mark.parametrize("field", ["content-digest", "repr-digest"])
def test_a_digest_that_came_with_the_bytes_is_verified(acme: Caller, field: str) -> None:
    digest = b64encode(hashlib.sha256(b"other").digest()).decode()
    headers = {field: f"sha-256=:{digest}:"}
    problem(acme.http.post("/blobs", content=fresh_text(), headers=headers), 422, "digest-mismatch")


@pytest.mark.parametrize(
    "value", ["sha-256", "sha-256=:AAAA:", "sha-256=abc", "sha-256=:not base64:", "=", "sha-256=:" + "A" * 4000]
)
def test_a_malformed_digest_is_a_bad_request(acme: Caller, value: str) -> None:
    headers = {"content-digest": value}
    problem(acme.http.post("/blobs", content=fresh_text(), headers=headers), 400, "bad-request")


def test_digests_that_contradict_each_other_are_a_bad_request(acme: Caller) -> None:
    content = fresh_text()
    right, wrong = (b64encode(hashlib.sha256(data).digest()).decode() for data in (content, b"other"))
    headers = {"content-digest": f"sha-256=:{right}:", "repr-digest": f"sha-256=:{wrong}:"}
    problem(acme.http.post("/blobs", content=content, headers=headers), 400, "bad-request")
    name = {"content-digest": f"sha-256=:{right}:"}
    problem(acme.http.put(f"/blobs/{NAME}", content=content, headers=name), 400, "bad-request")


@pytest.mark.parametrize("claim", ["image/jpeg", "IMAGE/JPEG; q=1", "video/mp4", "audio/mpeg"])
def test_html_named_jpg_is_no_picture(acme: Caller, claim: str) -> None:
    headers, html = {"content-type": claim}, samples.html_named_jpg()
    for response in (
        acme.http.put(f"/blobs/{sha256_of(html)}", content=html, headers=headers),
        acme.http.post("/blobs", content=html, headers=headers),
        acme.http.post("/blobs", files={"file": ("cat.jpg", html, claim)}),
        acme.http.put(f"{COVER}/0", content=html, headers=headers),
    ):
        assert problem(response, 415, "media-type-mismatch")["found"] == "text/html"


def test_html_is_no_cover_whatever_it_is_called(acme: Caller) -> None:
    html = samples.html_named_jpg()
    for response in (
        acme.http.put(f"{COVER}/0", content=html, params={"filename": "cat.jpg"}),
        acme.http.post(COVER, files={"file": ("cat.jpg", html, "application/octet-stream")}),
    ):
        assert problem(response, 415, "media-type-not-allowed")["found"] == "text/html"


def test_an_image_bomb_is_refused_for_its_dimensions_and_quickly(acme: Caller) -> None:
    for bomb in (samples.png_bomb(), samples.jpeg_bomb(), samples.gif_bomb()):
        started = time.monotonic()
        details = problem(acme.http.put(f"{COVER}/0", content=bomb), 422, "dimensions-exceeded")
        assert details["width"] * details["height"] > details["max_pixels"]
        assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "make",
    [samples.photograph, fresh_png, samples.webp, samples.animated_gif, samples.avif],
    ids=lambda make: make.__name__,
)
def test_a_truncated_image_is_refused(acme: Caller, make: Callable[[], bytes]) -> None:
    for share in (0.5, 0.95):
        broken = samples.truncated(make(), share)
        problem(acme.http.put(f"{COVER}/0", content=broken), 422, "unreadable-media")


def test_a_truncated_film_is_refused(acme: Caller) -> None:
    for film in (samples.mp4(), samples.webm()):
        problem(acme.http.post("/refs/block/7/video", content=samples.truncated(film)), 422, "unreadable-media")


# --- bodies that are too short, too large, or cut --------------------------------------------------------------------


@pytest.mark.parametrize("path", [f"/blobs/{NAME}", f"{COVER}/0"])
def test_a_short_body_never_looks_complete(service: Refkeep, acme: Caller, path: str) -> None:
    request = head("PUT", path, {**bearer(acme.token), "Content-Length": 1000})
    problem(exchange(service.port, request, b"x" * 999, end=True), 400, "client-aborted")


def test_chunks_that_break_off_never_look_complete(service: Refkeep, acme: Caller) -> None:
    request = head("POST", "/blobs", {**bearer(acme.token), "Transfer-Encoding": "chunked"})
    for body in (b"5\r\nhello\r\n", b"ff\r\nhello", b"5\r\nhello\r\nzz\r\n"):
        problem(exchange(service.port, request, body, end=True), 400, "client-aborted")


def test_a_form_that_breaks_off_never_looks_complete(acme: Caller) -> None:
    headers, body = form(('name="file"', fresh_jpeg()), end=False)
    for cut in (body, body[:-2], body[: len(body) // 2], body[:5]):
        problem(acme.http.put(f"{COVER}/0", content=cut, headers=headers), 400, "bad-request")


@pytest.mark.parametrize("path", ["/blobs", "/refs/shelf/1/note"])
def test_a_declared_body_beyond_the_limit_is_refused_before_it_is_read(
    strict: Refkeep, sender: Caller, path: str
) -> None:
    declared = {**bearer(sender.token), "Content-Length": 10 << 30, "Expect": "100-continue"}
    details = problem(exchange(strict.port, head("POST", path, declared)), 413, "too-large")
    assert details["max_bytes"] == LIMIT


def test_a_declared_form_beyond_the_limit_is_refused_before_its_file_is_read(strict: Refkeep, sender: Caller) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": 10 << 30}
    opening = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nthe beginning'
    for path in ("/blobs", "/refs/shelf/1/note"):
        request = head("POST", path, {**bearer(sender.token), **kind})
        problem(exchange(strict.port, request, opening), 413, "too-large")


def test_chunks_beyond_the_limit_are_refused_as_they_come(strict: Refkeep, sender: Caller) -> None:
    request = head("POST", "/blobs", {**bearer(sender.token), "Transfer-Encoding": "chunked"})
    with connected(strict.port) as wire:
        wire.send(request)
        for _ in range(LIMIT // 65536):
            wire.send(b"10000\r\n" + bytes(65536) + b"\r\n")
        wire.send(b"1\r\n.\r\n")
        answer = wire.response()
    problem(answer, 413, "too-large")


def test_a_form_whose_file_is_beyond_the_limit_is_refused(sender: Caller) -> None:
    problem(sender.http.post("/blobs", files={"file": bytes(LIMIT + 1)}), 413, "too-large")


def test_a_cover_beyond_its_policy_is_refused(acme: Caller, service: Refkeep) -> None:
    declared = head("PUT", f"{COVER}/0", {**bearer(acme.token), "Content-Length": 25 * 2**20 + 1})
    assert problem(exchange(service.port, declared), 413, "too-large")["max_bytes"] == 25 * 2**20


def test_a_workspace_takes_no_more_than_its_quota(service: Refkeep) -> None:
    service.command(workspaces, "create", "tight", "--max-bytes", "100")
    caller = service.caller("read", "write", workspace="tight")
    problem(caller.http.post("/blobs", content=fresh_text(101)), 507, "quota-exceeded")
    problem(caller.http.put("/refs/document/1/file/0", content=fresh_text(101)), 507, "quota-exceeded")


# --- forms ------------------------------------------------------------------------------------------------------------

FILE = ('name="file"; filename="a.jpg"', samples.jpeg())
FORMS = {
    "two files": form(FILE, FILE),
    "two files, other way": form(FILE, ('name="file"', b"x")),
    "text after the file": form(FILE, ('name="alt"', b"late")),
    "no file": form(('name="alt"', b"alone")),
    "nothing chosen": form(('name="file"; filename=""', b"")),
    "unknown part": form(('name="colour"', b"red"), FILE),
    "a part twice": form(('name="alt"', b"a"), ('name="alt"', b"b"), FILE),
    "text that is no UTF-8": form(('name="alt"', b"\xff\xfe"), FILE),
    "text with NUL": form(('name="alt"', b"a\0b"), FILE),
    "text too long": form(('name="alt"', b"a" * 5000), FILE),
    "a filename with control characters": form(('name="file"; filename="a\x01b.jpg"', samples.jpeg())),
    "position that is no number": form(('name="position"', b"first"), FILE),
    "negative position": form(('name="position"', b"-1"), FILE),
    "hash in upper case": form(('name="sha256"', b"AB" * 32), FILE),
    "unknown visibility": form(('name="visibility"', b"secret"), FILE),
    "no name": form(("", samples.jpeg())),
    "no boundary": ({"content-type": "multipart/form-data"}, form(FILE)[1]),
    "another boundary": ({"content-type": "multipart/form-data; boundary=other"}, form(FILE)[1]),
    "an endless boundary": ({"content-type": f"multipart/form-data; boundary={'b' * 200}"}, form(FILE)[1]),
    "an empty body": ({"content-type": "multipart/form-data; boundary=xyz"}, b""),
    "no form at all": ({"content-type": "multipart/form-data; boundary=xyz"}, samples.jpeg()),
}


@pytest.mark.parametrize("kind", FORMS)
def test_a_bad_form_is_a_bad_request(acme: Caller, kind: str) -> None:
    headers, body = FORMS[kind]
    code = "bad-hash" if kind == "hash in upper case" else "bad-request"
    problem(acme.http.post(COVER, content=body, headers=headers), 400, code)
    assert acme.refs("book/42") == []


def test_a_form_takes_its_members_as_parts_alone(acme: Caller) -> None:
    response = acme.http.post(COVER, files={"file": samples.jpeg()}, params={"alt": "x"})
    problem(response, 400, "bad-request")


# --- JSON -------------------------------------------------------------------------------------------------------------

COMMANDS = {
    "malformed": b'{"sha256": ',
    "empty": b"",
    "no object": b'["x"]',
    "null": b"null",
    "unknown member": b'{"sha256": "%s", "colour": "red"}' % NAME.encode(),
    "no hash": b'{"alt": "x"}',
    "hash of the wrong type": b'{"sha256": 7}',
    "alt of the wrong type": b'{"sha256": "%s", "alt": 7}' % NAME.encode(),
    "unknown visibility": b'{"sha256": "%s", "visibility": "secret"}' % NAME.encode(),
    "position of the wrong type": b'{"sha256": "%s", "position": "0"}' % NAME.encode(),
    "position with a fraction": b'{"sha256": "%s", "position": 0.5}' % NAME.encode(),
    "position too large": b'{"sha256": "%s", "position": 1000000000}' % NAME.encode(),
    "position beyond any number": b'{"sha256": "%s", "position": 1e400}' % NAME.encode(),
    "negative position": b'{"sha256": "%s", "position": -1}' % NAME.encode(),
    "NUL in a label": b'{"sha256": "%s", "alt": "a\\u0000b"}' % NAME.encode(),
    "NUL in a filename": b'{"sha256": "%s", "filename": "a\\u0000b"}' % NAME.encode(),
    "line feed in an owner": b'{"sha256": "%s", "owner": "a\\nb"}' % NAME.encode(),
    "lone surrogate": b'{"sha256": "%s", "alt": "\\ud800"}' % NAME.encode(),
    "lone low surrogate": b'{"sha256": "%s", "alt": "\\udc00x"}' % NAME.encode(),
    "invalid UTF-8": b'{"sha256": "%s", "alt": "\xff\xfe"}' % NAME.encode(),
    "overlong UTF-8": b'{"sha256": "%s", "alt": "\xc0\xaf"}' % NAME.encode(),
    "surrogate as UTF-8": b'{"sha256": "%s", "alt": "\xed\xa0\x80"}' % NAME.encode(),
    "UTF-16": '{"sha256": ""}'.encode("utf-16"),
    "two documents": b'{"sha256": "%s"} {}' % NAME.encode(),
    "alt too long": b'{"sha256": "%s", "alt": "%s"}' % (NAME.encode(), b"a" * 1001),
    "nested deeply": b"[" * 200_000 + b"]" * 200_000,
    "objects nested deeply": b'{"alt":' * 100_000 + b"1" + b"}" * 100_000,
    "nested in a hash": b'{"sha256":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested in a hash without an end": b'{"sha256":' + b"[" * 100_000,
    "nested in an unknown member": b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_bad_json_is_a_bad_request(acme: Caller, kind: str) -> None:
    headers = {"content-type": "application/json"}
    problem(acme.http.post(COVER, content=COMMANDS[kind], headers=headers), 400, "bad-request")
    problem(acme.http.put(f"{COVER}/0", content=COMMANDS[kind], headers=headers), 400, "bad-request")
    problem(acme.http.post("/blobs/missing", content=COMMANDS[kind], headers=headers), 400, "bad-request")


def test_huge_json_is_refused_unread(acme: Caller, service: Refkeep) -> None:
    huge = {"content-type": "application/json", **bearer(acme.token)}
    for path in (COVER, "/blobs/missing"):
        declared = head("POST", path, {**huge, "Content-Length": 1 << 30})
        problem(exchange(service.port, declared), 413, "too-large")
        request = head("POST", path, {**huge, "Transfer-Encoding": "chunked"})
        body = chunked(*[b" " * 65536] * 16, b" ")
        problem(exchange(service.port, request, body[:-5]), 413, "too-large")


def test_questions_about_more_hashes_than_allowed_are_refused(acme: Caller) -> None:
    hashes = [f"{number:064x}" for number in range(1001)]
    problem(acme.http.post("/blobs/missing", json={"sha256": hashes}), 400, "bad-request")
    assert acme.http.post("/blobs/missing", json={"sha256": hashes[:1000]}).json() == {"missing": hashes[:1000]}


def test_a_json_command_takes_no_query(acme: Caller) -> None:
    problem(acme.http.post(COVER, json={"sha256": NAME}, params={"alt": "x"}), 400, "bad-request")


def test_json_is_demanded_where_nothing_else_makes_sense(acme: Caller) -> None:
    problem(acme.http.post("/blobs/missing", content=b'{"sha256":[]}'), 400, "bad-request")
