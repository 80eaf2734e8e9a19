"""Bodies that come piece by piece, and readers that do not take them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from service.observability.outcome import classify
from service.router import streaming
from service.router.streaming import ClientStalled, Streamed

pytestmark = pytest.mark.anyio


async def test_a_reader_that_stands_still_is_given_up_and_is_no_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "STALL_SECONDS", 0.01)
    closed = anyio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"piece"
        finally:
            closed.set()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await anyio.sleep_forever()

    answer = Streamed(pieces(), "text/plain").to_asgi_response(None, None)
    with anyio.fail_after(10), pytest.raises(ClientStalled) as stalled:
        await answer({"type": "http", "headers": []}, anyio.sleep_forever, send)  # type: ignore[arg-type]
    assert closed.is_set()
    assert classify(stalled.value) == ("client_aborted", "client_stalled")
