"""Many requests at the same moment, each on a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from tests.parts.caller import Caller

PATIENCE_S = 60.0


def together(caller: Caller, requests: Sequence[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
    """The answers to requests (method, path, what httpx takes beside them), in their order."""

    async def run() -> list[httpx.Response]:
        headers, limits = {"authorization": f"Bearer {caller.token}"}, httpx.Limits(max_connections=len(requests))
        base = caller.http.base_url
        async with httpx.AsyncClient(base_url=base, headers=headers, limits=limits, timeout=PATIENCE_S) as http:
            await asyncio.gather(*(http.get("/livez") for _ in requests))  # the connections are open before the race
            return await asyncio.gather(*(http.request(method, path, **more) for method, path, more in requests))

    return asyncio.run(run())
