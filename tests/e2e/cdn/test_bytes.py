"""Byte for byte and header for header, a cache answers what a replica answers: cold, warm, in every kind of part."""

from __future__ import annotations

import random
from collections.abc import Iterator
from email.utils import formatdate

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
# What a hop may add, leave out or spell anew, and what no two answers share. Everything else is the same.
HOP = {"date", "server", "connection", "keep-alive", "age", "via", "cache-status", "accept-ranges"}
CHANGING = {"x-request-id", "server-timing"}


@pytest.fixture(scope="module", params=list(SIZES))
def item(request: pytest.FixtureRequest, origin: Origin, edge: Edge) -> Item:
    """A public blob of this size that the cache has never seen."""
    size = SIZES[request.param]
    return origin.publish(noise(size, seed=edge.port * size))


@pytest.fixture(scope="module")
def replica(origin: Origin) -> Iterator[httpx.Client]:
    """Somebody who asks a replica."""
    with httpx.Client(base_url=origin.replicas[1].url, timeout=60) as client:
        yield client


def told(response: httpx.Response) -> dict[str, str]:
    """The headers that a cache passes on."""
    return {name: value for name, value in response.headers.items() if name not in HOP | CHANGING}


def assert_same(visitor: httpx.Client, replica: httpx.Client, path: str, headers: dict[str, str]) -> None:
    """Ask both, with GET and with HEAD."""
    for method in ("GET", "HEAD"):
        got, expected = (each.request(method, path, headers=headers) for each in (visitor, replica))
        what = (method, path, headers, got.status_code, expected.status_code, got.headers)
        assert got.status_code == expected.status_code, what
        assert got.content == expected.content, what
        if got.status_code in {206, 304}:  # may say more than they need (RFC 9110 §15.3.7, §15.4.5)
            assert told(got).items() >= told(expected).items(), what
        else:
            assert told(got) == told(expected), what


def assert_same_or_lawful(visitor: httpx.Client, replica: httpx.Client, item: Item, spelled: str) -> None:
    """For ranges that caches are free to see in their own way: the whole, or 416 without a year of memory (§14.2)."""
    headers, size = {"range": spelled}, len(item.content)
    got, expected = (each.get(item.blob, headers=headers) for each in (visitor, replica))
    if got.status_code == expected.status_code != 416:
        assert (got.content, told(got)) == (expected.content, {**told(expected), **told(got)})
    elif got.status_code == 416:
        assert got.headers["content-range"] == f"bytes */{size}"
        assert "no-store" in got.headers["cache-control"]
        assert expected.status_code == 416 or size == 0 or spelled == "bytes=5-1", (spelled, expected.status_code)
    else:
        assert (got.status_code, got.content) == (200, item.content), (spelled, expected.status_code)
    assert visitor.head(item.blob, headers=headers).headers["content-length"] == str(size)


def ranges_of(size: int) -> list[str]:
    """Single ranges around every border, some with an end beyond that of the bytes."""
    borders = sorted({0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, size // 2, max(size - 1, 0), size, size + 1})
    firsts = [border for border in borders if border < size]
    pairs = [f"bytes={first}-{last}" for first in firsts for last in borders if first <= last]
    return pairs + [f"bytes={first}-" for first in firsts] + [f"bytes=-{last}" for last in borders if last and size]


def test_a_cold_range_is_the_same(visitor: httpx.Client, replica: httpx.Client, item: Item) -> None:
    size = len(item.content)
    assert_same_or_lawful(visitor, replica, item, f"bytes={size // 3}-{size // 2}")


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
    before = sum(each.get("response_bytes", 0) for each in origin.asked_for(item))
    for _ in range(RANDOM_RANGES if size else 0):
        first = rng.randrange(size)
        last = min(first + rng.choice([0, 1, 1000, MIB, 3 * MIB]), size - 1)
        response = visitor.get(item.blob, headers={"range": f"bytes={first}-{last}"})
        assert (response.status_code, response.content) == (206, item.content[first : last + 1])
        assert response.headers["content-range"] == f"bytes {first}-{last}/{size}"
    assert visitor.get(item.blob).content == item.content
    assert sum(each.get("response_bytes", 0) for each in origin.asked_for(item)) == before


def test_ranges_around_every_border_are_the_same(visitor: httpx.Client, replica: httpx.Client, item: Item) -> None:
    for spelled in ranges_of(len(item.content)):
        assert_same(visitor, replica, item.blob, {"range": spelled})


def test_odd_ranges_are_lawful(visitor: httpx.Client, replica: httpx.Client, item: Item) -> None:
    size = len(item.content)
    beyond = [f"bytes={size}-", f"bytes={size}-{size}", f"bytes={20 * MIB}-", "bytes=99999999999-", "bytes=-0"]
    several = ["bytes=0-0,2-2", "bytes=0-0,-1", "bytes=99999999999-,0-0", f"bytes=0-0,{MIB}-{MIB}"]
    broken = ["bytes=5-1", "bytes=x", "bytes=", "pages=1-2", "bytes=-", "bytes = 0-1", f"bytes=0-{'9' * 40}"]
    for spelled in [*beyond, *several, *broken, "bytes=-1", "bytes=0-0"]:
        assert_same_or_lawful(visitor, replica, item, spelled)


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
        {"if-range": other, **part},
        {"if-range": f"W/{etag}", **part},
        {"if-modified-since": "Sat, 01 Jan 2000 00:00:00 GMT"},
        {"if-modified-since": formatdate(usegmt=True)},
        {"if-unmodified-since": "Sat, 01 Jan 2000 00:00:00 GMT"},
    ):
        assert_same(visitor, replica, item.blob, headers)
        assert_same(visitor, replica, item.file, headers)
    if item.content:
        assert_same(visitor, replica, item.blob, {"if-range": etag, **part})
