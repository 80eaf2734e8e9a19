"""Requests to whoever is alive, again until there is a definite answer: what a careful client does."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from tests.chaos.fleet import Fleet
from tests.chaos.tally import Tally

PATIENCE_S = 90.0
ANSWER_S = 45.0
_PAUSE = (0.05, 0.4)
_UNAVAILABLE, _CONFLICT, _SERVER_ERRORS = 503, 409, 500


class NoAnswer(Exception):
    """Nobody gave a definite answer for far too long."""


@dataclass
class Calls:
    """One HTTP client for all; a request goes to any process that is alive, its repetition to any other."""

    http: httpx.AsyncClient
    fleet: Fleet
    tally: Tally
    rng: random.Random

    async def write(self, headers: dict[str, str], method: str, path: str, **content: Any) -> httpx.Response:
        """A write with a key, which makes it safe to repeat."""
        return await self.definite({**headers, "idempotency-key": str(uuid4())}, method, path, **content)

    async def definite(self, headers: dict[str, str], method: str, path: str, **content: Any) -> httpx.Response:
        """The answer that is neither "not now" nor the end of a connection. Raises `NoAnswer`."""
        unknown, deadline = False, time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if urls := self.fleet.urls():
                response = await self._once(f"{self.rng.choice(urls)}{path}", headers, method, **content)
                if isinstance(response, httpx.Response):
                    if unknown:
                        self._resolve(response)
                    return response
                unknown |= response
            await asyncio.sleep(self.rng.uniform(*_PAUSE))
        self.tally.flaw(f"{method} {path} got no definite answer in {PATIENCE_S:g} s")
        raise NoAnswer

    async def _once(self, url: str, headers: dict[str, str], method: str, **content: Any) -> httpx.Response | bool:
        """A definite answer, or whether the request may have been carried out without one."""
        try:
            response = await self.http.request(method, url, headers=headers, timeout=ANSWER_S, **content)
        except httpx.ConnectError:
            self.tally.refused_connections += 1
            return False
        except httpx.TimeoutException:
            self.tally.flaw(f"{method} {url} hangs")
            return True
        except httpx.TransportError:
            self.tally.unknown += 1
            return True
        return response if self._is_definite(response) else False

    def _is_definite(self, response: httpx.Response) -> bool:
        status, code = response.status_code, code_of(response)
        self.tally.answers[f"{status} {code}".strip()] += 1
        if status == _UNAVAILABLE:
            self.tally.check("retry-after" in response.headers, f"503 {code} without Retry-After")
            return False
        self.tally.check(status < _SERVER_ERRORS, f"{response.request.method} {response.url.path}: {status} {code}")
        return status < _SERVER_ERRORS and (status, code) != (_CONFLICT, "idempotency-in-progress")

    def _resolve(self, response: httpx.Response) -> None:
        """What had become of a request whose connection died."""
        if "idempotent-replayed" in response.headers:
            self.tally.resolved["had been carried out"] += 1
        elif response.is_success:
            self.tally.resolved["was carried out now"] += 1
        else:
            self.tally.resolved["was refused now"] += 1


def code_of(response: httpx.Response) -> str:
    """The code of a problem, nothing otherwise."""
    if response.headers.get("content-type") != "application/problem+json":
        return ""
    return str(response.json()["code"])
