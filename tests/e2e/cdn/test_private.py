"""What is private stays private whoever asked before, and what is no cache's business goes through."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.parts.blobs import noise
from tests.parts.edges import Edge
from tests.parts.origin import Item, Origin
from tests.parts.wire import exchange, head


@pytest.fixture
def private(origin: Origin, edge: Edge) -> Item:
    return origin.publish(noise(5000, seed=edge.port + time.monotonic_ns()), visibility="private")


def keyed(origin: Origin) -> dict[str, str]:
    return {"authorization": f"Bearer {origin.writer.token}"}


def test_bytes_shown_to_a_key_are_shown_to_nobody_else(origin: Origin, visitor: httpx.Client, private: Item) -> None:
    etag = f'"{private.sha256}"'
    for path in (private.blob, private.file):
        for _ in range(2):
            answer = visitor.get(path, headers=keyed(origin))
            assert (answer.status_code, answer.content) == (200, private.content)
            assert answer.headers["cache-control"] == "private, no-store"
            assert visitor.get(path, headers={**keyed(origin), "range": "bytes=1-1"}).status_code == 206
            for more in (
                {},
                {"range": "bytes=0-0"},
                {"if-none-match": etag},
                {"if-none-match": "*"},
                {"if-match": etag},
            ):
                for method in ("GET", "HEAD"):
                    answer = visitor.request(method, path, headers=more)
                    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")


def test_a_bad_key_is_told_though_the_bytes_are_public(origin: Origin, edge: Edge, visitor: httpx.Client) -> None:
    item = origin.publish(noise(5000, seed=edge.port + time.monotonic_ns()))
    assert visitor.get(item.blob).status_code == 200
    for key in ("Bearer rk_no_no", "|", "Basic eA=="):
        expected = httpx.get(f"{origin.replicas[0].url}{item.blob}", headers={"authorization": key}).status_code
        assert visitor.get(item.blob, headers={"authorization": key}).status_code == expected
    assert visitor.get(item.blob).headers["cache-status"].endswith("hit")


def test_what_becomes_public_is_served_at_once(origin: Origin, visitor: httpx.Client, private: Item) -> None:
    assert visitor.get(private.blob).status_code == 404
    change = origin.writer.http.patch(f"/media/{private.ref_id}", json={"visibility": "public"})
    assert change.status_code == 200, change.text
    assert visitor.get(private.blob).content == private.content
    assert visitor.get(private.file).content == private.content


def test_writes_and_reads_of_the_api_go_through(origin: Origin, visitor: httpx.Client, edge: Edge) -> None:
    content = noise(300_000, seed=edge.port + time.monotonic_ns())
    answer = visitor.post("/blobs", content=iter([content]), headers=keyed(origin))
    assert answer.status_code == 201, answer.text
    path = f"/blobs/{answer.json()['blob']['sha256']}"
    assert visitor.get(path, headers=keyed(origin)).content == content
    for suffix in ("meta", "why"):
        answer = visitor.get(f"{path}/{suffix}", headers=keyed(origin))
        assert answer.status_code == 200, answer.text
        assert visitor.get(f"{path}/{suffix}").status_code == 401
    assert visitor.get("/metrics").status_code == 404
    assert visitor.options(path, headers={"origin": "https://example.org"}).status_code == 204


@pytest.mark.parametrize(
    "spelling", ["/%62lobs/{}", "//blobs/{}", "/blobs/./{}", "/blobs/{}/", "/blobs/{}%20", "/blobs//{}"]
)
def test_a_path_has_one_spelling(origin: Origin, edge: Edge, visitor: httpx.Client, spelling: str) -> None:
    item = origin.publish(noise(5000, seed=edge.port))
    assert visitor.get(item.blob).status_code == 200
    target = spelling.format(item.sha256)
    expected = exchange(origin.ports[0], head("GET", target)).status_code
    assert exchange(edge.port, head("GET", target)).status_code == expected == 404


def test_a_header_that_speaks_in_the_words_of_the_configuration_changes_nothing(
    origin: Origin, visitor: httpx.Client, private: Item
) -> None:
    for spoof in ({"range": "plain"}, {"authorization": "public plain"}, {"if-match": "public"}, {"range": "a:/b? 1"}):
        assert visitor.get(private.blob, headers=spoof).status_code in {401, 404}
        assert visitor.get(f"{private.blob}/meta", headers=spoof).status_code == 401
