"""Many requests at the same moment, each on a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import httpx

from tests.parts.caller import Caller

PATIENCE_S = 60.0


def together(caller: Caller, requests: Sequence[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
    """The answers to requests (method, path, what httpx takes beside them), in their order."""

    async def run() -> list[httpx.Response]:
        async with AsyncExitStack() as stack:
            # A client for each: one pool of many connections looks at all of them for each request, and takes longer
            # over that than the service over the answers.
            clients = [await stack.enter_async_context(_client(caller)) for _ in requests]
            await asyncio.gather(*(http.get("/livez") for http in clients))  # the connections are open before the race
            asked = zip(clients, requests, strict=True)
            return await asyncio.gather(*(http.request(method, path, **more) for http, (method, path, more) in asked))

    return asyncio.run(run())


def _client(caller: Caller) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {caller.token}"}
    return httpx.AsyncClient(base_url=caller.http.base_url, headers=headers, timeout=PATIENCE_S, verify=False)
