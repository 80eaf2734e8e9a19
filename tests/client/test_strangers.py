"""Answers that are not Refkeep's, or that something on the way has spoilt: each is one of the client's exceptions."""

from __future__ import annotations

import pytest

from refkeep_client import NO_RETRY, EntityKey, NotFound, Refkeep, SnapshotRef, Unexpected, Unreachable
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
