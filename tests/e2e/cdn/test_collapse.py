"""Of many who ask at once, the replicas see one; of those who ask later, none."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.parts.blobs import MIB, noise
from tests.parts.edges import Edge
from tests.parts.origin import Origin

VISITORS = 50


async def fetch_at_once(edge: Edge, path: str) -> list[httpx.Response]:
    """The answers to so many visitors, each on a connection of its own that is open before the race."""
    limits = httpx.Limits(max_connections=VISITORS)
    async with httpx.AsyncClient(base_url=edge.url, limits=limits, timeout=60) as http:
        await asyncio.gather(*(http.get("/livez") for _ in range(VISITORS)))
        return await asyncio.gather(*(http.get(path) for _ in range(VISITORS)))


@pytest.mark.parametrize("size", [16 * 1024, 3 * MIB + 5])
def test_fifty_cold_requests_are_one_to_the_replicas(origin: Origin, edge: Edge, size: int) -> None:
    item = origin.publish(noise(size, seed=edge.port + size))
    for path in (item.blob, item.file):
        before = len(origin.asked_for(item))
        answers = asyncio.run(fetch_at_once(edge, path))
        assert {(answer.status_code, answer.content) for answer in answers} == {(200, item.content)}
        slices = -(-size // MIB) if edge.name == "nginx" else 1
        assert len(origin.asked_for(item)) - before == slices


def test_what_is_warm_is_not_asked_for(origin: Origin, edge: Edge, visitor: httpx.Client) -> None:
    item = origin.publish(noise(16 * 1024, seed=edge.port))
    assert visitor.get(item.blob).headers["cache-status"].endswith("fwd=miss")
    before = len(origin.asked_for(item))
    answers = [visitor.get(f"{item.blob}{query}") for query in ("", "?utm_source=x", "?a", "?expires=1")] * 50
    assert {answer.content for answer in answers} == {item.content}
    assert all(answer.headers["cache-status"].endswith("hit") for answer in answers)
    assert len(origin.asked_for(item)) == before


def test_what_belongs_to_one_request_is_not_told_to_the_next(origin: Origin, edge: Edge, visitor: httpx.Client) -> None:
    item = origin.publish(noise(16 * 1024, seed=edge.port + 1))
    wish = {"want-repr-digest": "sha-512=1, sha-256=0"}
    first, second = visitor.get(item.file, headers=wish), visitor.get(item.file)
    assert first.headers["repr-digest"] == second.headers["repr-digest"] != ""
    assert {"x-request-id", "server-timing"} <= first.headers.keys()
    assert not {"x-request-id", "server-timing"} & second.headers.keys()
