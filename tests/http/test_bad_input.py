"""Bad input: each kind has its problem, nothing of it is left behind, and the service never breaks over it."""

from __future__ import annotations

import hashlib
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import httpx
import pytest

from tests import samples
from tests.parts.caller import Caller, problem, sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_png, fresh_text
from tests.parts.service import Refkeep, Yard, eventually
from tests.parts.wire import RawResponse, bearer, chunked, connected, head

COVER = "/refs/book/42/cover"
LIMIT = 1 << 20
NAME = "ab" * 32


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test here there are as many rows and files as before."""
    started: Refkeep = request.getfixturevalue("small" if "small" in request.fixturenames else "service")
    before = started.footprint()
    yield
    eventually(lambda: started.footprint() == before, 5)


@pytest.fixture(scope="module")
def small(yard: Yard) -> Iterator[Refkeep]:
    """A service that takes a mebibyte."""
    with yard.running(MAX_UPLOAD_BYTES="1 MiB") as started:
        yield started


@pytest.fixture
def sender(small: Refkeep) -> Caller:
    return small.caller("read", "write")


def exchange(service: Refkeep, *pieces: bytes, end: bool = False, method: str = "GET") -> RawResponse:
    """What the service answers to these bytes."""
    with connected(service.port) as wire:
        for piece in pieces:
            wire.send(piece)
        if end:
            wire.end_of_sending()
        answer = wire.response(method)
    assert answer is not None, "the connection ended without an answer"
    return answer


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
    problem(exchange(service, request, b"x" * 999, end=True), 400, "client-aborted")


def test_chunks_that_break_off_never_look_complete(service: Refkeep, acme: Caller) -> None:
    request = head("POST", "/blobs", {**bearer(acme.token), "Transfer-Encoding": "chunked"})
    for body in (b"5\r\nhello\r\n", b"ff\r\nhello", b"5\r\nhello\r\nzz\r\n"):
        problem(exchange(service, request, body, end=True), 400, "client-aborted")


def test_a_form_that_breaks_off_never_looks_complete(acme: Caller) -> None:
    headers, body = form(('name="file"', fresh_jpeg()), end=False)
    for cut in (body, body[:-2], body[: len(body) // 2], body[:5]):
        problem(acme.http.put(f"{COVER}/0", content=cut, headers=headers), 400, "bad-request")


@pytest.mark.parametrize("path", ["/blobs", COVER])
def test_a_declared_body_beyond_the_limit_is_refused_before_it_is_read(
    small: Refkeep, sender: Caller, path: str
) -> None:
    declared = {**bearer(sender.token), "Content-Length": 10 << 30, "Expect": "100-continue"}
    details = problem(exchange(small, head("POST", path, declared)), 413, "too-large")
    assert details["max_bytes"] == LIMIT


def test_a_declared_form_beyond_the_limit_is_refused_before_it_is_read(small: Refkeep, sender: Caller) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": 10 << 30}
    problem(exchange(small, head("POST", "/blobs", {**bearer(sender.token), **kind})), 413, "too-large")


def test_chunks_beyond_the_limit_are_refused_as_they_come(small: Refkeep, sender: Caller) -> None:
    request = head("POST", "/blobs", {**bearer(sender.token), "Transfer-Encoding": "chunked"})
    with connected(small.port) as wire:
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
    assert problem(exchange(service, declared), 413, "too-large")["max_bytes"] == 25 * 2**20


def test_a_workspace_takes_no_more_than_its_quota(service: Refkeep) -> None:
    from service.commands.keys import workspaces  # noqa: PLC0415 - beside its only use

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
    "nested in an unknown member": b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_bad_json_is_a_bad_request(acme: Caller, kind: str) -> None:
    headers = {"content-type": "application/json"}
    problem(acme.http.post(COVER, content=COMMANDS[kind], headers=headers), 400, "bad-request")
    problem(acme.http.post("/blobs/missing", content=COMMANDS[kind], headers=headers), 400, "bad-request")


def test_huge_json_is_refused_unread(acme: Caller, service: Refkeep) -> None:
    huge = {"content-type": "application/json", **bearer(acme.token)}
    for path in (COVER, "/blobs/missing"):
        declared = head("POST", path, {**huge, "Content-Length": 1 << 30})
        problem(exchange(service, declared), 413, "too-large")
        request = head("POST", path, {**huge, "Transfer-Encoding": "chunked"})
        body = chunked(*[b" " * 65536] * 16, b" ")
        problem(exchange(service, request, body[:-5]), 413, "too-large")


def test_questions_about_more_hashes_than_allowed_are_refused(acme: Caller) -> None:
    hashes = [f"{number:064x}" for number in range(1001)]
    problem(acme.http.post("/blobs/missing", json={"sha256": hashes}), 400, "bad-request")
    assert acme.http.post("/blobs/missing", json={"sha256": hashes[:1000]}).json() == {"missing": hashes[:1000]}


def test_a_json_command_takes_no_query(acme: Caller) -> None:
    problem(acme.http.post(COVER, json={"sha256": NAME}, params={"alt": "x"}), 400, "bad-request")


def test_json_is_demanded_where_nothing_else_makes_sense(acme: Caller) -> None:
    problem(acme.http.post("/blobs/missing", content=b'{"sha256":[]}'), 400, "bad-request")


# --- names and hashes -------------------------------------------------------------------------------------------------

NO_HASHES = ["AB" * 32, "ab" * 31, "ab" * 33, "g" * 64, "ab" * 31 + "aB"]


@pytest.mark.parametrize("name", NO_HASHES)
def test_what_is_no_hash_is_refused_when_written_and_absent_when_read(acme: Caller, name: str) -> None:
    for written in (
        acme.http.put(f"/blobs/{name}", content=b"x"),
        acme.http.delete(f"/blobs/{name}"),
        acme.http.post(COVER, json={"sha256": name}),
        acme.http.post(COVER, content=samples.jpeg(), params={"sha256": name}),
        acme.http.post("/blobs/missing", json={"sha256": [name]}),
        acme.http.get("/events", params={"sha256": name}),
    ):
        problem(written, 400, "bad-hash")
    problem(acme.http.get(f"/blobs/{name}"), 404, "not-found")
    problem(acme.http.get(f"/blobs/{name}/meta"), 404, "not-found")
    assert acme.http.head(f"/blobs/{name}").status_code == 404


@pytest.mark.parametrize(
    "slot",
    [
        "Book/42/cover/0",
        "book/-42/cover/0",
        "book/42/Cover/0",
        "book/42/cover/00",
        "book/42/cover/x",
        "book/42/cover/1234567890",
        "book/42/cover/-1",
        "b" * 65 + "/42/cover/0",
        f"book/{'4' * 201}/cover/0",
    ],
)
def test_a_name_outside_its_alphabet_is_refused_when_written(acme: Caller, slot: str) -> None:
    problem(acme.put(slot, "ab" * 32), 400, "bad-request")
    problem(acme.delete(slot), 400, "bad-request")


@pytest.mark.parametrize("path", ["Book/42", "book/-42", "book/42/Cover", f"{'b' * 65}/42", f"book/{'4' * 201}"])
def test_a_name_outside_its_alphabet_is_absent_when_read(acme: Caller, path: str) -> None:
    problem(acme.http.get(f"/refs/{path}"), 404, "not-found")


@pytest.mark.parametrize("ref_id", ["1", "not-a-uuid", "01890A5D-AC96-774B-BCCE-B302099A8057", "0" * 32, "%7B%7D"])
def test_what_is_no_ref_id_is_absent(acme: Caller, ref_id: str) -> None:
    problem(acme.http.get(f"/media/{ref_id}"), 404, "not-found")
    problem(acme.http.get(f"/media/{ref_id}/file"), 404, "not-found")


# --- paths and methods ------------------------------------------------------------------------------------------------

TRICKS = [
    "/",
    "//",
    "/nothing",
    "/livez/",
    "//livez",
    "/livez//",
    "/./livez",
    "/x/../livez",
    "/%6civez",
    "/livez%00",
    "/livez%0a",
    "/livez%",
    "/livez;x=1",
    "/LIVEZ",
    "/refs/book/42/",
    "/refs//42",
    "/refs/book/%34%32",
    "/refs/book/4%2F2",
    "/refs/book/..",
    "/refs/book/%2e%2e",
    "/refs/book/%2e%2e/%2e%2e/livez",
    "/refs/book/42%00",
    "/refs/book/42/cover/%30",
    f"/blobs/{NAME}/",
    f"/blobs//{NAME}",
    f"/blobs/%61{NAME[1:]}",
    f"/blobs/{NAME}%00",
    f"/blobs/{NAME}/../{NAME}",
    f"/blobs/{NAME}/%6deta",
    f"/blobs/../blobs/{NAME}",
    "/blobs/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/blobs/../../../etc/passwd",
]
OF_DELIVERY = ["/media/%2e%2e/file", f"/blobs/%61{NAME[1:]}", "/blobs/" + "a" * 3000]


@pytest.mark.parametrize("target", TRICKS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_path_has_one_spelling(service: Refkeep, acme: Caller, target: str, method: str) -> None:
    length = {} if method == "GET" else {"Content-Length": 0}
    problem(exchange(service, head(method, target, {**bearer(acme.token), **length})), 404, "not-found")


@pytest.mark.parametrize("target", OF_DELIVERY)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_path_of_bytes_has_one_spelling(service: Refkeep, acme: Caller, target: str, method: str) -> None:
    answer = exchange(service, head(method, target, bearer(acme.token)), method=method)
    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")


METHODS = {
    "/livez": {"GET"},
    "/readyz": {"GET"},
    "/metrics": {"GET"},
    "/events": {"GET"},
    "/blobs": {"POST"},
    "/blobs/missing": {"POST"},
    f"/blobs/{NAME}": {"GET", "HEAD", "PUT", "DELETE"},
    f"/blobs/{NAME}/meta": {"GET"},
    "/refs/book/42": {"GET"},
    COVER: {"GET", "POST"},
    f"{COVER}/0": {"PUT", "DELETE"},
    "/policies/book/cover": {"GET"},
    "/media/01890a5d-ac96-774b-bcce-b302099a8057": {"GET"},
    "/media/01890a5d-ac96-774b-bcce-b302099a8057/file": {"GET", "HEAD"},
}


@pytest.mark.parametrize("path", METHODS)
def test_a_wrong_method_is_told_the_right_ones(service: Refkeep, acme: Caller, path: str) -> None:
    allowed = METHODS[path] | {"OPTIONS"}
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"} - allowed:
        answer = exchange(service, head(method, path, {**bearer(acme.token), "Content-Length": 0}))
        problem(answer, 405, "method-not-allowed")
        assert {name.strip() for name in answer.headers["allow"].split(",")} == allowed, (method, path)


# --- queries and headers ----------------------------------------------------------------------------------------------

BAD_QUERIES = [
    "limit=1&limit=2",
    "limit=0",
    "limit=501",
    "limit=ten",
    "limit=1e1",
    "limit=+5",
    "limit=",
    "limit",
    "&",
    "colour=red",
    "ref_id=7",
    "entity_id=%00",
    "entity_type=%00",
    "decision=%00",
    "decision=%ff",
    "entity_type=%ed%a0%80",
    "&".join(f"x{number}=1" for number in range(100)),
]


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_a_bad_query_is_a_bad_request(service: Refkeep, acme: Caller, query: str) -> None:
    request = head("GET", f"/events?{query}", bearer(acme.token))
    problem(exchange(service, request), 400, "bad-request")


@pytest.mark.parametrize("cursor", ["x", "1-2", "1-2-3-4", "01-2-3", "1-2-ffffffffff", "%00", "-1-0-0", "1-2-3 "])
def test_a_cursor_of_someone_else_is_refused(acme: Caller, cursor: str) -> None:
    problem(acme.http.get("/events", params={"after": cursor}), 400, "bad-cursor")


@pytest.mark.parametrize(
    "query",
    [
        "alt=a&alt=b",
        "colour=red",
        "position=first",
        "position=-1",
        "position=01",
        "position=1e0",
        "position=+1",
        "alt=%00",
        "alt=%ff",
        "alt=a%0ab",
        "visibility=secret",
        "filename=%00",
        f"alt={'a' * 1001}",
        "position=1000000000",
    ],
)
def test_a_bad_query_beside_bytes_is_a_bad_request(service: Refkeep, acme: Caller, query: str) -> None:
    headers = {**bearer(acme.token), "Content-Length": len(samples.jpeg())}
    answer = exchange(service, head("POST", f"{COVER}?{query}", headers), samples.jpeg())
    problem(answer, 400, "bad-request")


def test_a_put_has_its_position_in_the_path(acme: Caller) -> None:
    for response in (
        acme.http.put(f"{COVER}/0", json={"sha256": NAME, "position": 0}),
        acme.http.put(f"{COVER}/0", content=samples.jpeg(), params={"position": "0"}),
    ):
        problem(response, 400, "bad-request")


def test_uploads_of_blobs_take_no_query(acme: Caller) -> None:
    content = fresh_text()
    problem(acme.http.post("/blobs", content=content, params={"alt": "x"}), 400, "bad-request")
    problem(acme.http.put(f"/blobs/{sha256_of(content)}", content=content, params={"a": "b"}), 400, "bad-request")


@pytest.mark.parametrize("value", ["7", '"7', "W/7", '"a" "b"', "", "\xff", '"' + "7" * 5000])
def test_a_malformed_if_match_is_a_bad_request(service: Refkeep, acme: Caller, value: str) -> None:
    for method, path in (("PUT", f"{COVER}/0"), ("POST", COVER), ("DELETE", f"{COVER}/0")):
        content = b"" if method == "DELETE" else b'{"sha256":"%s"}' % NAME.encode()
        headers = {"If-Match": value, "Content-Type": "application/json", "Content-Length": len(content)}
        problem(exchange(service, head(method, path, {**bearer(acme.token), **headers}), content), 400, "bad-request")


def test_if_none_match_of_a_slot_is_a_star_alone(acme: Caller) -> None:
    response = acme.http.put(f"{COVER}/0", json={"sha256": NAME}, headers={"if-none-match": '"1"'})
    problem(response, 400, "bad-request")


@pytest.mark.parametrize("value", ["", '"', '"a b"', "a b", "x" * 256, "\xff", '""'])
def test_a_malformed_idempotency_key_is_a_bad_request(service: Refkeep, acme: Caller, value: str) -> None:
    content = b'{"sha256":"%s"}' % NAME.encode()
    headers = {"Idempotency-Key": value, "Content-Type": "application/json", "Content-Length": len(content)}
    problem(exchange(service, head("POST", COVER, {**bearer(acme.token), **headers}), content), 400, "bad-request")


def test_a_request_id_of_ours_comes_back_and_an_unfit_one_is_replaced(service: Refkeep) -> None:
    for path, status in (("/livez", 200), ("/nothing", 404), (f"/blobs/{NAME}", 404), ("//", 404)):
        kept = exchange(service, head("GET", path, {"X-Request-ID": "a-request.of:ours"}))
        assert (kept.status_code, kept.headers["x-request-id"]) == (status, "a-request.of:ours")
        for unfit in ("x" * 129, "a\tb", "\xe9", ""):
            made = exchange(service, head("GET", path, {"X-Request-ID": unfit}))
            assert made.headers["x-request-id"] not in {unfit, ""}


# --- keys -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    scope: str


CALLS = [
    Call("GET", "/events", "read"),
    Call("GET", "/refs/book/42", "read"),
    Call("GET", COVER, "read"),
    Call("GET", "/policies/book/cover", "read"),
    Call("GET", f"/blobs/{NAME}/meta", "read"),
    Call("GET", "/media/01890a5d-ac96-774b-bcce-b302099a8057", "read"),
    Call("PUT", f"/blobs/{NAME}", "write"),
    Call("POST", "/blobs", "write"),
    Call("POST", "/blobs/missing", "write"),
    Call("DELETE", f"/blobs/{NAME}", "write"),
    Call("PUT", f"{COVER}/0", "write"),
    Call("POST", COVER, "write"),
    Call("DELETE", f"{COVER}/0", "write"),
]
DELIVERIES = [f"/blobs/{NAME}", "/media/01890a5d-ac96-774b-bcce-b302099a8057/file"]


def misspelled(token: str) -> str:
    return token[:-1] + ("a" if token[-1] != "a" else "b")


def call(caller: Caller, each: Call, headers: Mapping[str, str] | None = None) -> httpx.Response:
    return caller.http.request(each.method, each.path, content=b"x" * 10, headers=headers)


@pytest.mark.parametrize("each", CALLS, ids=lambda each: f"{each.method} {each.path[:20]}")
def test_a_call_needs_a_key(acme: Caller, anyone: Caller, each: Call) -> None:
    problem(call(anyone, each), 401, "unauthorized")
    stranger, cut = "rk_abcdefghijkl_" + "A" * 38, acme.token[:-1]
    wrong = [stranger, cut, misspelled(acme.token), f"{acme.token}x", f"x {acme.token}", acme.token.upper(), "rk_", "é"]
    for value in ["", "Bearer", "Basic YTpi", acme.token, *(f"Bearer {token}" for token in wrong)]:
        response = call(anyone, each, {"authorization": value})
        problem(response, 401, "unauthorized")
        assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", DELIVERIES)
def test_a_bad_key_is_told_so_where_none_is_needed(acme: Caller, anyone: Caller, path: str) -> None:
    bad = {"authorization": f"Bearer {misspelled(acme.token)}"}
    problem(anyone.http.get(path), 404, "not-found")
    problem(anyone.http.get(path, headers=bad), 401, "unauthorized")
    assert anyone.http.head(path, headers=bad).status_code == 401


@pytest.mark.parametrize("each", CALLS, ids=lambda each: f"{each.method} {each.path[:20]}")
def test_a_key_of_another_workspace_or_scope_is_forbidden(
    acme: Caller, globex: Caller, service: Refkeep, each: Call
) -> None:
    problem(call(acme, each, {"workspace": globex.workspace}), 403, "forbidden")
    problem(call(acme, each, {"workspace": "no-such-workspace"}), 403, "forbidden")
    problem(call(acme, each, {"workspace": "Not/A Workspace"}), 403, "forbidden")
    other = service.caller("write" if each.scope == "read" else "read", workspace=acme.workspace)
    problem(call(other, each), 403, "forbidden")


def test_a_revoked_key_is_dead_within_5_seconds(service: Refkeep, anyone: Caller) -> None:
    from service.commands.keys import keys  # noqa: PLC0415 - beside its only use

    caller = service.caller("read")
    assert caller.http.get("/events").status_code == 200
    service.command(keys, "revoke", caller.token.split("_")[1])
    eventually(lambda: caller.http.get("/events").status_code == 401, 5)
    problem(caller.http.get("/events"), 401, "unauthorized")
    problem(caller.http.get(f"/blobs/{NAME}"), 401, "unauthorized")
