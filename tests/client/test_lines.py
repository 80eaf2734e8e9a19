"""Lines and messages of a body, however it is cut into pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refkeep_client import Unexpected, Unreachable
from refkeep_client.lines import MOST_BYTES, lines_of
from refkeep_client.sse import Message, messages_of

pytestmark = pytest.mark.anyio

STREAM = (
    b"retry: 1000\n\n"
    b'id: 1-2-0\nevent: refkeep.ref.inserted.v1\ndata: {"alt":"a\xe2\x80\xa8b"}\n\n'
    b": heartbeat\nid: 1-2-7f\n\n"
    b"data: one\ndata:two\r\n\r\n"
    b"id: cut off"
)


LINES = st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"])))


async def pieces_of(content: bytes, *cuts: int) -> AsyncIterator[bytes]:
    edges = [0, *sorted(cuts), len(content)]
    for start, end in pairwise(edges):
        yield content[start:end]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
async def test_messages_are_the_same_however_they_arrive(cuts: list[int]) -> None:
    found = [message async for message in messages_of(lines_of(pieces_of(STREAM, *cuts)))]
    assert found == [
        Message("1-2-0", b'{"alt":"a\xe2\x80\xa8b"}'),
        Message("1-2-7f", None),
        Message(None, b"one\ntwo"),
    ]


@given(LINES, st.lists(st.floats(0, 1), max_size=8))
async def test_a_line_ends_with_a_line_feed_and_nothing_else(lines: list[str], shares: list[float]) -> None:
    content = "".join(f"{line}\n" for line in lines).encode()
    cuts = [int(share * len(content)) for share in shares]
    assert [line.decode() async for line in lines_of(pieces_of(content, *cuts))] == lines


async def test_what_is_cut_off_is_no_line() -> None:
    assert [line async for line in lines_of(pieces_of(b"whole\npart"))] == [b"whole"]
    with pytest.raises(Unreachable, match="middle of a line"):
        _ = [line async for line in lines_of(pieces_of(b"whole\npart"), whole=True)]


@pytest.mark.parametrize("block", [b"data: " + b"x" * 1023, b"data: " + b"x" * 1023 + b"\n"])
async def test_neither_a_line_nor_an_event_goes_on_for_ever(block: bytes) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += len(block)
            yield block

    with pytest.raises(Unexpected, match="goes on for more than"):
        _ = [message async for message in messages_of(lines_of(endless()))]
    assert MOST_BYTES < taken < MOST_BYTES * 1.1
