"""Which requests go no further."""

from __future__ import annotations

import pytest

from service.router.admission import refusal_of
from service.router.problems import instance_of

HOST = (b"host", b"media.example")


def test_an_ordinary_request_goes_on() -> None:
    headers = [HOST, (b"accept", b"a"), (b"accept", b"b"), (b"transfer-encoding", b"Chunked")]
    assert refusal_of(b"/blobs", "1.1", headers) is None


@pytest.mark.parametrize("headers", [[], [(b"host", b"")]])
def test_a_request_of_http_1_0_needs_no_host(headers: list[tuple[bytes, bytes]]) -> None:
    assert refusal_of(b"/livez", "1", headers) is None


@pytest.mark.parametrize("host", [b"localhost", b"127.0.0.1:8080", b"[::1]", b"[::1]:80", b"my_container:80", b"a.b:"])
def test_a_host_is_a_name_or_an_address_with_a_port(host: bytes) -> None:
    assert refusal_of(b"/livez", "1.1", [(b"host", host)]) is None


@pytest.mark.parametrize("path", [b"", b"//", b"/blobs/", b"/refs/a%40b", b"/a/../b"])
def test_another_spelling_of_a_path_is_not_found(path: bytes) -> None:
    refusal = refusal_of(path, "1.1", [HOST])
    assert refusal is not None
    assert refusal[0] == "not-found"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"host", b"")],
        [(b"host", b"a, b")],
        [(b"host", b"a b")],
        [(b"host", b"a/b")],
        [(b"host", b"user@a")],
        [(b"host", b"a:port")],
        [(b"host", b"\xff\xfe")],
        [HOST, HOST],
        [HOST, (b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")],
        [HOST, (b"workspace", b"a"), (b"workspace", b"a")],
        [HOST, (b"idempotency-key", b"a"), (b"idempotency-key", b"b")],
        [HOST, (b"transfer-encoding", b"gzip, chunked")],
        [HOST, (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
    ],
)
def test_what_two_readers_could_read_differently_is_a_bad_request(headers: list[tuple[bytes, bytes]]) -> None:
    refusal = refusal_of(b"/blobs", "1.1", headers)
    assert refusal is not None
    assert refusal[0] == "bad-request"


@pytest.mark.parametrize(
    ("raw_path", "instance"),
    [
        (b"/refs/a%40b", "/refs/a%40b"),
        (b"/a b", "/a%20b"),
        (b"/\x00\xff", "/%00%FF"),
        (b"", "/"),
        (b"/a:b@c~", "/a:b@c~"),
    ],
)
def test_the_instance_of_a_problem_is_the_path_as_it_came(raw_path: bytes, instance: str) -> None:
    assert instance_of({"raw_path": raw_path}) == instance
