"""Early answers and what becomes of the connection."""

from __future__ import annotations

import weakref
from collections.abc import MutableMapping
from typing import Any

import anyio
import pytest

from service.router.settling import LINGER_BYTES, MOST_BYTES, settled

pytestmark = pytest.mark.anyio

Message = MutableMapping[str, Any]
CLOSE = (b"connection", b"close")
MIB = 1024 * 1024


async def early_answer(
    headers: list[tuple[bytes, bytes]], pieces: int, *, status: int = 403, piece: bytes = b"x"
) -> tuple[Message, int]:
    """The start of an answer that its app gives without a look at the body, and how many pieces were left of that."""
    left = list(range(pieces))
    sent: list[Message] = []

    async def receive() -> Message:
        left.pop()
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def send(message: Message) -> None:
        sent.append(message)

    async def app(_scope: Message, _receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await settled(app)({"type": "http", "headers": headers}, receive, send)
    return sent[0], len(left)


async def test_the_rest_of_a_small_body_is_taken_in() -> None:
    start, left = await early_answer([(b"content-length", b"3")], 3)
    assert (CLOSE in start["headers"], left) == (False, 0)


async def test_a_request_without_a_body_is_left_alone() -> None:
    start, left = await early_answer([], 1)
    assert (CLOSE in start["headers"], left) == (False, 1)


@pytest.mark.parametrize(
    "headers", [[(b"content-length", str(MOST_BYTES + 1).encode())], [(b"transfer-encoding", b"chunked")]]
)
async def test_for_any_other_body_the_connection_ends_once_it_was_sent(headers: list[tuple[bytes, bytes]]) -> None:
    start, left = await early_answer(headers, 3)
    assert (CLOSE in start["headers"], left) == (True, 0)


async def test_a_body_that_waits_to_be_asked_for_is_never_asked_for() -> None:
    start, left = await early_answer([(b"content-length", b"3"), (b"expect", b"100-continue")], 3)
    assert (CLOSE in start["headers"], left) == (True, 3)


async def test_of_a_body_that_came_too_slowly_nothing_more_is_taken() -> None:
    start, left = await early_answer([(b"transfer-encoding", b"chunked")], 3, status=408)
    assert (CLOSE in start["headers"], left) == (True, 3)


async def test_what_is_taken_of_a_refused_body_is_bounded() -> None:
    piece = bytes(MIB)
    _, left = await early_answer([(b"transfer-encoding", b"chunked")], 100, piece=piece)
    assert left == 100 - LINGER_BYTES // MIB


async def test_a_refused_body_that_stands_still_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.router.settling.LINGER_SILENCE_SECONDS", 0.01)

    async def silent() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def app(_scope: Message, _receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": []})

    async def send(_: Message) -> None: ...

    with anyio.fail_after(5):
        await settled(app)({"type": "http", "headers": [(b"transfer-encoding", b"chunked")]}, silent, send)


async def test_the_server_is_let_go_whoever_keeps_its_ways() -> None:
    """It keeps a connection while anybody may ask for the body, as the frames of an exception do that was answered."""
    kept: list[Any] = []

    async def app(_scope: Message, receive: Any, send: Any) -> None:
        kept.extend((receive, send))
        await send({"type": "http.response.start", "status": 204, "headers": []})

    async def serve() -> list[weakref.ref[Any]]:
        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(_: Message) -> None: ...

        await settled(app)({"type": "http", "headers": []}, receive, send)
        return [weakref.ref(receive), weakref.ref(send)]

    assert [way() for way in await serve()] == [None, None]
    for way in kept:
        with pytest.raises(RuntimeError):
            await way({"type": "http.response.body"}) if way == kept[1] else await way()
