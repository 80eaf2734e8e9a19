"""Byte for byte and header for header, a cache answers what a replica answers: cold, warm, in every kind of part."""

from __future__ import annotations

import random
from collections.abc import Iterator

import httpx
import pytest

from tests.parts.blobs import MIB, noise
from tests.parts.edges import Edge
from tests.parts.origin import Item, Origin

SIZES = {
    "empty": 0,
    "one byte": 1,
    "a slice less one": MIB - 1,
    "a slice": MIB,
    "a slice and one": MIB + 1,
    "ten slices and three": 10 * MIB + 3,
    "twenty slices": 20 * MIB,
}
RANDOM_RANGES = 200
# What a hop may add, leave out or spell anew. Everything else is the same.
HOP = {"date", "server", "connection", "keep-alive", "age", "via", "cache-status", "transfer-encoding"}
CHANGING = {"x-request-id", "server-timing"}


@pytest.fixture(scope="module", params=list(SIZES))
def item(request: pytest.FixtureRequest, origin: Origin, edge: Edge) -> Item:
    """A public blob of this size that the cache has never seen."""
    size = SIZES[request.param]
    return origin.publish(noise(size, seed=hash((edge.name, edge.port, size))))


@pytest.fixture(scope="module")
def replica(origin: Origin) -> Iterator[httpx.Client]:
    """Somebody who asks a replica."""
    with httpx.Client(base_url=origin.replicas[1].url, timeout=60) as client:
        yield client


def told(response: httpx.Response) -> dict[str, str]:
    """The headers that a cache passes on."""
    return {name: value for name, value in response.headers.items() if name not in HOP | CHANGING}


def assert_same(visitor: httpx.Client, replica: httpx.Client, path: str, headers: dict[str, str]) -> None:
    """Ask both, for GET and HEAD."""
    for method in ("GET", "HEAD"):
        got = visitor.request(method, path, headers=headers)
        expected = replica.request(method, path, headers=headers)
        what = (method, path, headers, got.headers.get("cache-status"))
        assert got.status_code == expected.status_code, what
        if got.headers.get("content-type") == "application/problem+json":
            assert {**got.json(), "instance": ""} == {**expected.json(), "instance": ""} if got.content else True
        else:
            assert got.content == expected.content, what
        if method == "GET":
            assert told(got) == told(expected), what


def ranges_of(size: int) -> list[str]:
    """Single ranges around every border, some of them beyond the end."""
    borders = sorted({0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, size // 2, max(size - 1, 0), size, size + 1})
    pairs = [(first, last) for first in borders for last in borders if first <= last]
    return [f"bytes={first}-{last}" for first, last in pairs] + [f"bytes={first}-" for first in borders]


def test_a_cold_range_is_the_same(visitor: httpx.Client, replica: httpx.Client, item: Item) -> None:
    size = len(item.content)
    assert_same(visitor, replica, item.blob, {"range": f"bytes={size // 3}-{size // 2}"})


def test_the_whole_is_the_same_cold_and_warm(visitor: httpx.Client, replica: httpx.Client, item: Item) -> None:
    for _ in range(2):
        assert visitor.get(item.blob).content == item.content
        assert_same(visitor, replica, item.blob, {})
        assert_same(visitor, replica, item.file, {})


def test_random_ranges_are_the_same_and_the_second_pass_takes_nothing_from_replicas(
    visitor: httpx.Client, origin: Origin, item: Item
) -> None:
    size, rng = len(item.content), random.Random(4)
    assert visitor.get(item.blob).content == item.content
    before = sum(each["response_bytes"] for each in origin.asked_for(item))
    for _ in range(RANDOM_RANGES if size else 0):
        first = rng.randrange(size)
        last = min(first + rng.choice([0, 1, 1000, MIB, 3 * MIB]), size - 1)
        response = visitor.get(item.blob, headers={"range": f"bytes={first}-{last}"})
        assert (response.status_code, response.content) == (206, item.content[first : last + 1])
        assert response.headers["content-range"] == f"bytes {first}-{last}/{size}"
    assert visitor.get(item.blob).content == item.content
    assert sum(each["response_bytes"] for each in origin.asked_for(item)) == before


def test_ranges_around_every_border_are_the_same(visitor: httpx.Client, replica: httpx.Client, item: Item) -> None:
    for spelled in ranges_of(len(item.content)):
        assert_same(visitor, replica, item.blob, {"range": spelled})


@pytest.mark.parametrize(
    "spelled",
    [
        "bytes=-1",
        "bytes=-0",
        "bytes=-99999999999",
        "bytes=0-0,2-2",
        "bytes=0-0,-1",
        "bytes=5-1",
        "bytes=x",
        "bytes=",
        "pages=1-2",
        "bytes=99999999999-",
        "bytes=99999999999-,0-0",
    ],
)
def test_odd_ranges_are_the_same(visitor: httpx.Client, replica: httpx.Client, item: Item, spelled: str) -> None:
    assert_same(visitor, replica, item.blob, {"range": spelled})


def test_preconditions_are_the_same(visitor: httpx.Client, replica: httpx.Client, item: Item) -> None:
    etag, other, part = f'"{item.sha256}"', '"0"', {"range": "bytes=0-0"}
    for headers in (
        {"if-none-match": etag},
        {"if-none-match": f"W/{etag}"},
        {"if-none-match": f"{other}, {etag}"},
        {"if-none-match": "*"},
        {"if-none-match": other},
        {"if-match": etag},
        {"if-match": other},
        {"if-match": f"W/{etag}"},
        {"if-none-match": etag, **part},
        {"if-range": etag, **part},
        {"if-range": other, **part},
        {"if-range": f"W/{etag}", **part},
        {"if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT"},
        {"if-unmodified-since": "Sat, 01 Jan 2000 00:00:00 GMT"},
    ):
        assert_same(visitor, replica, item.blob, headers)
        assert_same(visitor, replica, item.file, headers)
