"""Uploads refused before their end: whoever goes on sending gets the answer all the same."""

from __future__ import annotations

import httpx
import pytest

from tests.parts.caller import Caller

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


async def test_an_asynchronous_client_that_sends_all_before_it_reads_gets_the_refusal(acme: Caller) -> None:
    """Its transport throws away what has arrived when the connection is reset under a write."""
    body = bytes(30 * MIB)
    async with httpx.AsyncClient(base_url=str(acme.http.base_url), headers=acme.http.headers, timeout=30) as http:
        for _ in range(2):
            answer = await http.put("/refs/book/42/cover/0", content=body)
            assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
            answer = await http.put("/refs/book/42/cover/0", content=body, headers={"authorization": "Bearer bad"})
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
