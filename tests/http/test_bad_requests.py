"""Bad names, paths, methods, queries and headers: each has its problem, and nothing comes of it."""

from __future__ import annotations

import pytest

from tests import samples
from tests.parts.caller import Caller, problem, sha256_of
from tests.parts.fresh import fresh_text
from tests.parts.service import Refkeep
from tests.parts.wire import bearer, exchange, head

COVER = "/refs/book/42/cover"
NAME = "ab" * 32
REF_ID = "0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b"

NO_HASHES = ["AB" * 32, "ab" * 31, "ab" * 33, "g" * 64, "ab" * 31 + "aB"]

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


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


@pytest.mark.parametrize(
    "ref_id", ["1", "not-a-uuid", "01890A5D-AC96-774B-BCCE-B302099A8057", "0" * 32, "%7B%7D", REF_ID.replace("-", "")]
)
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
    problem(exchange(service.port, head(method, target, {**bearer(acme.token), **length})), 404, "not-found")


@pytest.mark.parametrize("target", OF_DELIVERY)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_path_of_bytes_has_one_spelling(service: Refkeep, acme: Caller, target: str, method: str) -> None:
    answer = exchange(service.port, head(method, target, bearer(acme.token)), method=method)
    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")


METHODS = {
    "/livez": {"GET"},
    "/readyz": {"GET"},
    "/metrics": {"GET"},
    "/events": {"GET"},
    "/blobs": {"POST"},
    "/blobs/missing": {"POST"},
    f"/blobs/{NAME}": {"GET", "PUT", "DELETE"},
    f"/blobs/{NAME}/meta": {"GET"},
    "/refs/batch": {"POST"},
    "/refs/book/42": {"GET", "DELETE"},
    COVER: {"GET", "POST", "DELETE"},
    f"{COVER}/0": {"PUT", "DELETE"},
    f"{COVER}/order": {"PUT"},
    "/policies/book/cover": {"GET"},
    "/media": {"GET"},
    "/media/01890a5d-ac96-774b-bcce-b302099a8057": {"GET", "PATCH", "DELETE"},
    "/media/01890a5d-ac96-774b-bcce-b302099a8057/restore": {"POST"},
    "/media/01890a5d-ac96-774b-bcce-b302099a8057/purge": {"POST"},
    "/media/01890a5d-ac96-774b-bcce-b302099a8057/file": {"GET"},
}


@pytest.mark.parametrize("path", METHODS)
def test_a_wrong_method_is_told_the_right_ones(service: Refkeep, acme: Caller, path: str) -> None:
    allowed = METHODS[path] | {"OPTIONS"} | ({"HEAD"} if "GET" in METHODS[path] else set())
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"} - allowed:
        answer = exchange(service.port, head(method, path, {**bearer(acme.token), "Content-Length": 0}))
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
    f"ref_id={{{REF_ID}}}",
    f"ref_id=urn:uuid:{REF_ID}",
    f"ref_id={REF_ID.replace('-', '')}",
    f"ref_id={REF_ID.upper()}",
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
    problem(exchange(service.port, request), 400, "bad-request")


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
    answer = exchange(service.port, head("POST", f"{COVER}?{query}", headers), samples.jpeg())
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
        problem(
            exchange(service.port, head(method, path, {**bearer(acme.token), **headers}), content), 400, "bad-request"
        )


def test_if_none_match_of_a_slot_is_a_star_alone(acme: Caller) -> None:
    response = acme.http.put(f"{COVER}/0", json={"sha256": NAME}, headers={"if-none-match": '"1"'})
    problem(response, 400, "bad-request")


@pytest.mark.parametrize("value", ["", '"', '"a b"', "a b", "x" * 256, "\xff", '""'])
def test_a_malformed_idempotency_key_is_a_bad_request(service: Refkeep, acme: Caller, value: str) -> None:
    content = b'{"sha256":"%s"}' % NAME.encode()
    headers = {"Idempotency-Key": value, "Content-Type": "application/json", "Content-Length": len(content)}
    problem(exchange(service.port, head("POST", COVER, {**bearer(acme.token), **headers}), content), 400, "bad-request")


def test_a_request_id_of_ours_comes_back_and_an_unfit_one_is_replaced(service: Refkeep) -> None:
    for path, status in (("/livez", 200), ("/nothing", 404), (f"/blobs/{NAME}", 404), ("//", 404)):
        kept = exchange(service.port, head("GET", path, {"X-Request-ID": "a-request.of:ours"}))
        assert (kept.status_code, kept.headers["x-request-id"]) == (status, "a-request.of:ours")
        for unfit in ("x" * 129, "a\tb", "\xe9", ""):
            made = exchange(service.port, head("GET", path, {"X-Request-ID": unfit}))
            assert made.headers["x-request-id"] not in {unfit, ""}
