"""Cases from the texts themselves: RFC 9110 (semantics), 9111 (caching), 8246 (immutable), 9530 (digests)."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest

from service.adapters.memory.storage import MemoryStorage
from service.domain.policy import Visibility
from tests.parts.desk import CREATED, FILE, OURS, Desk, Response, call, desk_on

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 4
SIZE = len(CONTENT)
TAG = f'"{sha256(CONTENT).hexdigest()}"'
DIGEST = f"sha-256=:{b64encode(sha256(CONTENT).digest()).decode()}:"
MODIFIED = CREATED.strftime("%a, %d %b %Y %H:%M:%S GMT")
BEFORE, AFTER = "Thu, 01 Jan 2026 00:00:00 GMT", "Sat, 03 Jan 2026 00:00:00 GMT"


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    storage = MemoryStorage(tmp_path)
    await storage.aopen()
    desk = desk_on(storage)
    await desk.add_media(Visibility.PUBLIC, content=CONTENT)
    return desk


async def ask(desk: Desk, headers: dict[str, str], method: str = "GET") -> Response:
    return await call(desk.delivery, FILE, headers, method)


R = "range"
CASES: list[tuple[str, dict[str, str], int, bytes]] = [
    # RFC 9110 §14.1.2 and §14.2: ranges
    ("§14.1.2 the first 500", {R: "bytes=0-499"}, 206, CONTENT[:500]),
    ("§14.1.2 the second 500", {R: "bytes=500-999"}, 206, CONTENT[500:1000]),
    ("§14.1.2 the last 500", {R: "bytes=-500"}, 206, CONTENT[-500:]),
    ("§14.1.2 from an offset", {R: "bytes=950-"}, 206, CONTENT[950:]),
    ("§14.1.2 an end beyond the end", {R: "bytes=1000-9999"}, 206, CONTENT[1000:]),
    ("§14.1.2 a suffix longer than all", {R: "bytes=-9999"}, 206, CONTENT),
    ("§14.1.2 a suffix of nothing", {R: "bytes=-0"}, 416, b""),
    ("§14.1.2 a start beyond the end", {R: f"bytes={SIZE}-"}, 416, b""),
    ("§14.1.1 an end before its start", {R: "bytes=5-4"}, 200, CONTENT),
    ("§14.2 an unknown unit", {R: "lines=1-2"}, 200, CONTENT),
    ("§15.3.7.2 ranges that touch are one", {R: "bytes=0-4,5-9"}, 206, CONTENT[:10]),
    ("§15.3.7.2 one satisfiable is no multipart", {R: f"bytes=0-4,{SIZE}-"}, 206, CONTENT[:5]),
    # RFC 9110 §13.1: each precondition alone
    ("§13.1.1 the right tag", {"if-match": TAG}, 200, CONTENT),
    ("§13.1.1 a list with it", {"if-match": f'"xyzzy", {TAG}'}, 200, CONTENT),
    ("§13.1.1 whatever there is", {"if-match": "*"}, 200, CONTENT),
    ("§13.1.1 another tag", {"if-match": '"xyzzy"'}, 412, b""),
    ("§8.8.3.2 a weak tag is never a strong match", {"if-match": f"W/{TAG}"}, 412, b""),
    ("§13.1.2 the tag that is known", {"if-none-match": TAG}, 304, b""),
    ("§13.1.2 weakly", {"if-none-match": f"W/{TAG}"}, 304, b""),
    ("§13.1.2 a list", {"if-none-match": f'W/"xyzzy", {TAG}'}, 304, b""),
    ("§13.1.2 anything", {"if-none-match": "*"}, 304, b""),
    ("§13.1.2 another one", {"if-none-match": '"xyzzy"'}, 200, CONTENT),
    ("§13.1.3 not modified since", {"if-modified-since": MODIFIED}, 304, b""),
    ("§13.1.3 modified since", {"if-modified-since": BEFORE}, 200, CONTENT),
    ("§13.1.3 no date", {"if-modified-since": "soon"}, 200, CONTENT),
    ("§13.1.3 two dates", {"if-modified-since": f"{AFTER}, {AFTER}"}, 200, CONTENT),
    ("§13.1.4 unmodified since", {"if-unmodified-since": AFTER}, 200, CONTENT),
    ("§13.1.4 modified meanwhile", {"if-unmodified-since": BEFORE}, 412, b""),
    ("§5.6.7 the date of RFC 850", {"if-modified-since": "Saturday, 03-Jan-26 00:00:00 GMT"}, 304, b""),
    ("§5.6.7 the date of asctime", {"if-modified-since": "Sat Jan  3 00:00:00 2026"}, 304, b""),
    # §13.2.2: their order
    ("step 1 before 3", {"if-match": '"xyzzy"', "if-none-match": TAG}, 412, b""),
    ("step 1 instead of 2", {"if-match": TAG, "if-unmodified-since": BEFORE}, 200, CONTENT),
    ("step 2 before 3", {"if-unmodified-since": BEFORE, "if-none-match": TAG}, 412, b""),
    ("step 3 instead of 4", {"if-none-match": '"xyzzy"', "if-modified-since": AFTER}, 200, CONTENT),
    ("step 3 before 5", {"if-none-match": TAG, R: "bytes=0-0"}, 304, b""),
    ("step 1 before 5", {"if-match": '"xyzzy"', R: "bytes=0-0"}, 412, b""),
    ("step 4 before 5", {"if-modified-since": AFTER, R: f"bytes={SIZE}-"}, 304, b""),
    # §13.1.5: If-Range
    ("§13.1.5 the right tag", {"if-range": TAG, R: "bytes=0-0"}, 206, CONTENT[:1]),
    ("§13.1.5 another tag", {"if-range": '"xyzzy"', R: "bytes=0-0"}, 200, CONTENT),
    ("§13.1.5 a weak tag", {"if-range": f"W/{TAG}", R: "bytes=0-0"}, 200, CONTENT),
    ("§13.1.5 the exact date", {"if-range": MODIFIED, R: "bytes=0-0"}, 206, CONTENT[:1]),
    ("§13.1.5 a later date", {"if-range": AFTER, R: "bytes=0-0"}, 200, CONTENT),
    ("§13.1.5 another tag hides a bad range", {"if-range": '"xyzzy"', R: f"bytes={SIZE}-"}, 200, CONTENT),
    ("§13.1.5 nothing without Range", {"if-range": TAG}, 200, CONTENT),
    # RFC 9111 §5.2.1: directives of requests, which an origin may ignore
    ("9111 §5.2.1.4", {"cache-control": "no-cache", "pragma": "no-cache"}, 200, CONTENT),
    ("9111 §5.2.1.7 it is here, not in a cache", {"cache-control": "only-if-cached"}, 200, CONTENT),
    ("9111 §4.3.1 a reload with what is known", {"cache-control": "max-age=0", "if-none-match": TAG}, 304, b""),
    # RFC 9530 §4: a wish is no condition
    ("9530 §4", {"want-repr-digest": "sha-256=10, sha-512=3"}, 200, CONTENT),
    ("9530 §4 of a part, the digest of the whole", {"want-repr-digest": "sha-256=1", R: "bytes=0-0"}, 206, CONTENT[:1]),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "status", "body"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_the_text_says_so(desk: Desk, headers: dict[str, str], status: int, body: bytes) -> None:
    response = await ask(desk, headers)
    assert response.status == status
    if status in {200, 206, 304}:
        assert response.body == body
        assert_common(response)
    else:
        assert response.headers["cache-control"] == "no-store"
        assert ("content-range" in response.headers) == (status == 416)


def assert_common(response: Response) -> None:
    headers = response.headers
    assert headers["etag"] == TAG
    assert headers["content-location"] == f"/blobs/{TAG[1:-1]}"
    assert headers["cache-control"] == "max-age=300, no-transform"
    if response.status == 304:  # RFC 9110 §15.4.5: what a cache goes by, and nothing of a body
        assert headers.keys().isdisjoint({"content-length", "content-type", "content-range", "repr-digest"})
        return
    assert headers["repr-digest"] == DIGEST
    assert headers["last-modified"] == MODIFIED
    assert headers["accept-ranges"] == "bytes"
    assert int(headers["content-length"]) == len(response.body)
    assert ("content-range" in headers) == (response.status == 206)


@pytest.mark.parametrize("headers", [case[1] for case in CASES], ids=[case[0] for case in CASES])
async def test_head_is_get_without_its_body_and_without_ranges(desk: Desk, headers: dict[str, str]) -> None:
    without = {name: value for name, value in headers.items() if name not in {"range", "if-range"}}
    head, got = await ask(desk, headers, "HEAD"), await ask(desk, without)
    assert (head.status, head.body) == (got.status, b"")
    for response in (head, got):
        for name in ("server-timing", "x-request-id"):
            response.headers.pop(name, None)
    assert head.headers == got.headers


WISHES = ["sha-256=10", "sha-512=10, sha-256=0", "sha-256=0", "md5=1", "sha-256=11", "sha-256", "\xff", ""]


@pytest.mark.parametrize("wish", WISHES)
async def test_the_digest_that_is_known_is_told_whatever_is_wished(desk: Desk, wish: str) -> None:
    """RFC 9530 §4 lets a server ignore a wish; an answer that depends on it would be another one for every cache."""
    response = await ask(desk, {"want-repr-digest": wish})
    assert (response.status, response.headers["repr-digest"]) == (200, DIGEST)
    assert "vary" not in response.headers


async def test_only_what_never_changes_is_immutable(desk: Desk) -> None:
    """RFC 8246 §2: for the bytes of a hash, for as long as they are fresh; not for a ref, which may end."""
    blob = await desk.add(b"a blob")
    answers = {
        "blob": await call(desk.delivery, blob),
        "304": await call(desk.delivery, blob, {"if-none-match": "*"}),
        "206": await call(desk.delivery, blob, {"range": "bytes=0-0"}),
        "file": await ask(desk, {}),
        "private": await call(desk.delivery, await desk.add(b"b", public=False), OURS),
        "404": await call(desk.delivery, f"/blobs/{'0' * 64}"),
        "416": await call(desk.delivery, blob, {"range": "bytes=9-"}),
    }
    immutable = {name for name, answer in answers.items() if "immutable" in answer.headers["cache-control"]}
    assert immutable == {"blob", "304", "206"}
    for name in immutable:
        assert "max-age=31536000" in answers[name].headers["cache-control"]
        assert "last-modified" not in answers[name].headers
