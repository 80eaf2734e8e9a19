"""Clients who write and read through trouble, try once more where they must, and remember what they were promised."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import httpx

from tests.parts.blobs import noise
from tests.parts.caller import sha256_of
from tests.parts.service import eventually

SMALL, LARGE = 16 * 1024, 2 * 1024 * 1024
_LARGE_OF = 20
_THOUGHT_S = 0.05
_PATIENCE_S = 180.0
_PAUSE_S = 1.0
"""What a client waits before its one retry where no `Retry-After` tells it."""


@dataclass
class Crowd:
    """`promised` is what was acknowledged: the hash of every ref. A failure is a sentence."""

    url: str
    token: str
    clients: int = 8
    leave: bool = False
    done: int = 0
    healed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    promised: dict[str, str] = field(default_factory=dict)
    slowest_s: float = 0.0

    def through(self, trouble: Callable[[], Awaitable[None]]) -> None:
        """Work while `trouble` happens, and until it is over."""
        asyncio.run(self._through(trouble))

    async def has_done(self, more: int) -> None:
        """Return once so many more requests were answered well."""
        goal = self.done + more
        await asyncio.to_thread(eventually, lambda: self.done >= goal, _PATIENCE_S)

    async def _through(self, trouble: Callable[[], Awaitable[None]]) -> None:
        self.leave = False
        async with self._http() as http:
            work = asyncio.gather(*(self._work(http, random.Random(number)) for number in range(self.clients)))
            try:
                await trouble()
            finally:
                self.leave = True
                await work

    def lost(self) -> list[str]:
        """What was acknowledged and is not there, byte for byte."""
        return asyncio.run(self._lost())

    async def _lost(self) -> list[str]:
        flaws = []
        async with self._http() as http:
            for ref_id, sha256 in self.promised.items():
                answer = await http.get(f"/media/{ref_id}/file")
                if answer.status_code != HTTPStatus.OK or sha256_of(answer.content) != sha256:
                    flaws.append(f"{ref_id}: {answer.status_code} {answer.text[:200]}")
        return flaws

    def _http(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=self.clients)
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, limits=limits, timeout=45)

    async def _work(self, http: httpx.AsyncClient, rng: random.Random) -> None:
        while not self.leave:
            await self._publish(http, rng)
            for _ in range(3):
                await self._look(http, rng)
                await asyncio.sleep(_THOUGHT_S)  # a crowd, not a flood: who starts again must have the strength to

    async def _publish(self, http: httpx.AsyncClient, rng: random.Random) -> None:
        content = noise(LARGE if rng.randrange(_LARGE_OF) == 0 else SMALL, rng.randrange(2**62))
        sha256, key = sha256_of(content), {"idempotency-key": str(uuid4())}
        if rng.random() < 0.5:
            await self._ask(http, "PUT", f"/blobs/{sha256}", content=content)
        target = f"/refs/film/{uuid4()}/file"
        if answer := await self._ask(http, "POST", target, content=content, headers=key):
            self.promised[answer.json()["ref"]["ref_id"]] = sha256

    async def _look(self, http: httpx.AsyncClient, rng: random.Random) -> None:
        if not self.promised:
            return
        ref_id, sha256 = rng.choice([*self.promised.items()])
        path = rng.choice([f"/media/{ref_id}/file", f"/blobs/{sha256}"])
        answer = await self._ask(http, "GET", path)
        if answer is not None and sha256_of(answer.content) != sha256:
            self.failed.append(f"GET {path}: other bytes")

    async def _ask(self, http: httpx.AsyncClient, method: str, path: str, **content: Any) -> httpx.Response | None:
        """The answer, or that to the one retry; None for two failures, which are entered."""
        answer = await self._once(http, method, path, **content)
        if isinstance(answer, str):
            self.healed.append(answer)
            await asyncio.sleep(_PAUSE_S)
            answer = await self._once(http, method, path, **content)
        if isinstance(answer, str):
            self.failed.append(f"{self.healed.pop()}; again: {answer}")
            return None
        self.done += 1
        return answer

    async def _once(self, http: httpx.AsyncClient, method: str, path: str, **content: Any) -> httpx.Response | str:
        began = time.monotonic()
        try:
            answer = await http.request(method, path, **content)
        except httpx.TransportError as error:
            return f"{method} {path}: {error!r} after {time.monotonic() - began:.1f} s"
        finally:
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        if answer.is_success:
            return answer
        return f"{method} {path}: {answer.status_code} {answer.text[:200]} after {time.monotonic() - began:.1f} s"
