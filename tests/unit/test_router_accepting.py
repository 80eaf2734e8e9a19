"""What an Accept header asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.router.accepting import prefers

STREAM, JSON = "text/event-stream", "application/json"


@pytest.mark.parametrize(
    "accept",
    [
        STREAM,
        "Text/Event-Stream",
        "text/event-stream;q=0.1",
        "text/event-stream, application/json",
        "application/json;q=0.9, text/event-stream",
        "text/event-stream;charset=utf-8;q=1.000, */*",
    ],
)
def test_a_stream_is_asked_for_by_its_name(accept: str) -> None:
    assert prefers(accept, STREAM, JSON)


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "",
        "*/*",
        "text/*",
        JSON,
        "text/event-stream;q=0",
        "text/event-stream;q=2",
        "text/event-stream;q=",
        "text/event-stream;q=0.5, application/json",
        "text/event-streams",
        ", ;",
    ],
)
def test_anything_else_is_answered_with_a_page(accept: str | None) -> None:
    assert not prefers(accept, STREAM, JSON)


@given(st.text())
def test_any_text_is_read(accept: str) -> None:
    assert prefers(accept, STREAM, JSON) in {True, False}
