"""What must no longer be seen is served no more: at once after a purge, otherwise within the documented time."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic, time

import httpx
import pytest

from tests.parts.blobs import MIB, noise
from tests.parts.edges import RUNNING, Edge
from tests.parts.origin import Item, Origin
from tests.parts.service import eventually

RECHECK_S = {"nginx": 10, "varnish": 3}
GRACE_S = {"nginx": 1, "varnish": 10}
SLACK_S = 2
PUBLIC_MINUTE = "set beresp.ttl = 60s;\n        set beresp.grace = 1d;"


@pytest.fixture(scope="module", params=["nginx", "varnish"])
def edge(request: pytest.FixtureRequest, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A cache of this module's own; Varnish asks again after 3 seconds instead of a minute."""
    changes = {PUBLIC_MINUTE: PUBLIC_MINUTE.replace("60s", "3s")} if request.param == "varnish" else {}
    with RUNNING[request.param](tmp_path_factory.mktemp(request.param), origin.ports, changes) as started:
        yield started


@pytest.fixture
def item(origin: Origin, edge: Edge, visitor: httpx.Client) -> Item:
    """A public blob of three slices that is warm in every way."""
    item = origin.publish(noise(2 * MIB + 1, seed=edge.port + int(monotonic())))
    for path in (item.blob, item.file):
        assert visitor.get(path).content == item.content
        assert "hit" in visitor.get(path, headers={"range": "bytes=0-0"}).headers["cache-status"]
    return item


def every_way(visitor: httpx.Client, item: Item) -> set[int]:
    """The status of everything that might still show the bytes."""
    ways: list[dict[str, str]] = [{}, {"range": "bytes=0-0"}, {"range": f"bytes={2 * MIB}-"}]
    ways += [{"if-none-match": f'"{item.sha256}"'}]
    return {
        visitor.request(method, path, headers=headers).status_code
        for path in (item.blob, item.file)
        for headers in ways
        for method in ("GET", "HEAD")
    }


def test_after_a_purge_bytes_on_hold_are_not_served(
    origin: Origin, edge: Edge, visitor: httpx.Client, item: Item
) -> None:
    origin.hold(item)
    edge.purge(item.blob, item.file, tag=f"blob-{item.sha256}")
    assert every_way(visitor, item) == {451}
    origin.release(item)
    eventually(lambda: visitor.get(item.blob).status_code == 200, RECHECK_S[edge.name])
    assert visitor.get(item.blob).content == item.content


def test_without_a_purge_bytes_on_hold_are_served_no_longer_than_is_documented(
    origin: Origin, edge: Edge, visitor: httpx.Client, item: Item
) -> None:
    origin.hold(item)
    held = monotonic()
    eventually(lambda: every_way(visitor, item) == {451}, 60)
    assert monotonic() - held <= RECHECK_S[edge.name] + GRACE_S[edge.name] + SLACK_S
    origin.release(item)
    eventually(lambda: every_way(visitor, item) <= {200, 206, 304}, 10)


def test_asking_again_moves_no_bytes(origin: Origin, edge: Edge, visitor: httpx.Client, item: Item) -> None:
    begun = time()

    def asked_again() -> bool:
        assert visitor.get(item.blob).content == item.content
        return origin.asked_for(item, begun) != []

    eventually(asked_again, RECHECK_S[edge.name] + GRACE_S[edge.name] + SLACK_S)
    again = origin.asked_for(item, begun)
    assert {each["outcome"] for each in again} == {"not_modified"}
    assert {each["response_bytes"] for each in again} == {0}


def test_who_may_not_purge_is_refused(edge: Edge, item: Item, visitor: httpx.Client) -> None:
    if edge.name == "nginx":
        assert visitor.request("PURGE", item.blob).status_code == 405
        return
    for tag in ("", "blob-", f"blob-{item.sha256}|.*", '" || obj.status == 200', "ref-"):
        assert visitor.request("BAN", "/", headers={"surrogate-key": tag}).status_code == 400
    assert visitor.get(item.blob).headers["cache-status"].endswith("hit")
