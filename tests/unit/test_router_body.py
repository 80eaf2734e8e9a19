"""Request bodies as streams."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import BadRequest, TooLarge
from service.router.body import (
    ClientAborted,
    Patience,
    RequestTimeout,
    body_chunks,
    parse_content_length,
    read_json,
)

pytestmark = pytest.mark.anyio

Message = Mapping[str, object]


class Client:
    """A client at the other end of ASGI that sends these messages, then nothing more."""

    def __init__(self, *messages: Message) -> None:
        self.left = list(messages)

    async def receive(self) -> Message:
        if not self.left:
            await anyio.sleep_forever()
        return self.left.pop(0)


def sending(*chunks: bytes) -> Client:
    parts: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    return Client(*parts, {"type": "http.request", "body": b"", "more_body": False})


GONE: Message = {"type": "http.disconnect"}


async def read(client: Client, **options: int | Patience) -> list[bytes]:
    return [chunk async for chunk in body_chunks(client.receive, **{"limit": 1000, **options})]  # type: ignore[arg-type]


@given(st.lists(st.binary(max_size=20), max_size=20))
async def test_a_body_arrives_as_it_was_sent(chunks: list[bytes]) -> None:
    assert await read(sending(*chunks)) == [chunk for chunk in chunks if chunk]


async def test_a_request_without_a_body_is_empty() -> None:
    assert await read(Client({"type": "http.request"})) == []


async def test_a_declared_length_over_the_limit_is_refused_before_reading() -> None:
    client = sending(b"x")
    with pytest.raises(TooLarge):
        await read(client, declared=1001)
    assert len(client.left) == 2


@given(st.integers(1, 50), st.integers(0, 200))
async def test_a_chunked_body_is_refused_within_a_chunk_of_the_limit(size: int, limit: int) -> None:
    client = sending(*[b"x" * size] * 300)
    taken = []
    with pytest.raises(TooLarge):
        async for chunk in body_chunks(client.receive, limit=limit):
            taken.append(chunk)  # noqa: PERF401 (what came before the error is the point)
    assert sum(map(len, taken)) <= limit
    assert len(client.left) == 301 - limit // size - 1


async def test_a_client_that_goes_away_never_looks_complete() -> None:
    with pytest.raises(ClientAborted):
        await read(Client({"type": "http.request", "body": b"half", "more_body": True}, GONE))


async def test_a_body_shorter_than_declared_never_looks_complete() -> None:
    with pytest.raises(ClientAborted):
        await read(sending(b"half"), declared=8)


async def test_a_silent_client_is_cut() -> None:
    with pytest.raises(RequestTimeout), anyio.fail_after(5):
        await read(Client({"type": "http.request", "body": b"x", "more_body": True}), patience=Patience(seconds=0.02))


async def test_the_next_chunk_is_asked_for_only_once_this_one_is_dealt_with() -> None:
    client = sending(b"a", b"b", b"c")
    left = [len(client.left) async for _ in body_chunks(client.receive, limit=10)]
    assert left == [3, 2, 1]


def survives(patience: Patience, waits: list[tuple[float, int]]) -> float:
    """Seconds until this body is cut, or until its end."""
    left, passed = patience.seconds, 0.0
    for waited, received in waits:
        if waited > left:
            return passed + left
        passed += waited
        left = patience.after(left, waited, received)
    return passed


def test_two_bytes_a_second_are_cut_within_forty_seconds() -> None:
    assert survives(Patience(), [(0.5, 1)] * 1000) < 40


def test_a_fast_start_does_not_buy_a_slow_end() -> None:
    assert survives(Patience(), [(0.001, 1 << 30), *[(29.0, 1)] * 100]) < 60


def test_a_slow_but_steady_line_is_served_to_its_end() -> None:
    assert survives(Patience(), [(4.0, 8192)] * 10_000) == pytest.approx(40_000)


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 1 << 20)), min_size=1))
def test_patience_never_exceeds_what_it_began_with(waits: list[tuple[float, int]]) -> None:
    left = [30.0]
    for waited, received in waits:
        left.append(Patience().after(left[-1], waited, received))
    assert max(left) <= 30
    assert all(
        after <= before - waited + received / 1024 + 1e-6
        for (before, after), (waited, received) in zip(pairwise(left), waits, strict=True)
    )


@pytest.mark.parametrize("field", ["", "-1", "+1", "1.0", "x", "1 ", "٣", "9" * 19])
async def test_a_length_that_is_no_number_is_a_bad_request(field: str) -> None:
    with pytest.raises(BadRequest):
        parse_content_length(field)


async def test_a_length_is_read() -> None:
    assert parse_content_length("42") == 42
    assert parse_content_length(None) is None


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    sha256: str
    position: int | None = None


async def test_json_is_read_as_its_shape() -> None:
    assert await read_json(sending(b'{"sha256": "a', b'b"}').receive, Shape) == Shape("ab")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"sha256":1}',
        b'{"sha256":"a","x":1}',
        b"[]",
        b"\xff",
        b'{"sha256":"\xff"}',
        b"[" * 500_000,
        b'{"sha256":' + b"[" * 500_000,
    ],
)
async def test_json_of_another_shape_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        await read_json(sending(body).receive, Shape)


async def test_deep_json_is_a_bad_request_even_where_anything_goes() -> None:
    with pytest.raises(BadRequest):
        await read_json(sending(b"[" * 500_000).receive, list[object])


async def test_json_over_its_limit_is_too_large() -> None:
    with pytest.raises(TooLarge):
        await read_json(sending(b"x" * (1 << 20), b"x").receive, Shape)
