"""Answers that are not Refkeep's, or that something on the way has spoilt: each is one of the client's exceptions."""

from __future__ import annotations

import asyncio
import json

import pytest

from refkeep_client import NO_RETRY, EntityKey, NotFound, Problem, Refkeep, Retry, SnapshotRef, Unexpected, Unreachable
from tests.client.canned import answer, saying, unframed

pytestmark = pytest.mark.anyio

BOOK = EntityKey("book", "1")
HEAD = b'{"cursor":"1-2-0"}\n'


async def snapshot_from(said: bytes) -> list[SnapshotRef]:
    async with (
        saying(said) as canned,
        Refkeep(canned.url, retry=NO_RETRY) as client,
        client.events.snapshot() as snapshot,
    ):
        return [ref async for ref in snapshot]


async def test_a_snapshot_that_ends_with_its_connection_is_not_taken() -> None:
    with pytest.raises(Unexpected, match=r"GET /snapshot .* neither Content-Length nor chunks"):
        await snapshot_from(unframed(HEAD))


async def test_a_snapshot_that_ends_inside_a_line_is_not_taken() -> None:
    with pytest.raises(Unreachable, match="middle of a line"):
        await snapshot_from(answer(200, HEAD + b'{"ref_id":"01a2'))


async def test_a_snapshot_whose_length_is_told_is_taken() -> None:
    assert await snapshot_from(answer(200, HEAD)) == []


@pytest.mark.parametrize("opening", [b"[", b'{"x":[', b'{"x":'])
async def test_json_nested_by_the_thousand_is_an_unexpected_result_and_no_problem_document(opening: bytes) -> None:
    async with saying(answer(200, opening * 50_000)) as canned, Refkeep(canned.url, retry=NO_RETRY) as client:
        with pytest.raises(Unexpected):
            await client.refs.get(BOOK)
    async with saying(answer(404, opening * 50_000)) as canned, Refkeep(canned.url, retry=NO_RETRY) as client:
        with pytest.raises(NotFound) as raised:
            await client.refs.get(BOOK)
    assert raised.value.code == "http-404"


@pytest.mark.parametrize(
    ("status", "members", "requests"),
    [
        (503, {}, 3),
        (429, {}, 3),
        (502, {}, 3),
        (504, {"retryable": True}, 3),
        (503, {"retryable": False}, 1),
        (500, {}, 1),
        (404, {}, 1),
    ],
)
async def test_a_code_of_another_server_is_tried_again_unless_it_is_said_to_be_final(
    status: int, members: dict[str, bool], requests: int
) -> None:
    said = answer(status, json.dumps({"code": "SlowDown", **members}).encode())
    async with saying(said) as canned, Refkeep(canned.url, retry=Retry(attempts=3, first_s=0.01)) as client:
        with pytest.raises(Problem, match="SlowDown"):
            await client.refs.get(BOOK)
    assert canned.requests == requests


async def test_a_stream_of_another_type_ends_the_feed() -> None:
    said = answer(200, b"<html>\n\nmaintenance\n\n</html>\n", content_type="text/html; charset=utf-8")
    async with saying(said) as canned, Refkeep(canned.url) as client:
        with pytest.raises(Unexpected, match="text/html"):
            await anext(client.events.stream())
    assert canned.requests == 1


async def test_a_stream_without_a_type_ends_the_feed() -> None:
    async with saying(answer(200, b"id: 1\n\n")) as canned, Refkeep(canned.url) as client:
        with pytest.raises(Unexpected, match="instead of text/event-stream"):
            await anext(client.events.stream())


@pytest.mark.parametrize("caught_up", [True, False])
async def test_empty_pages_that_come_at_once_are_not_asked_for_without_a_pause(caught_up: bool) -> None:
    page = json.dumps({"events": [], "next": "1-2-0", "caught_up": caught_up}).encode()
    async with saying(answer(200, page)) as canned, Refkeep(canned.url) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await anext(client.events.pages("1-2-0"))
    assert canned.requests == 2
