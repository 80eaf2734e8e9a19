"""Several processes of the service as shipped, each on a port of its own, killed at random and started again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.chaos.tally import Tally
from tests.parts.seaweed import free_ports
from tests.parts.service import Refkeep, Yard

START_SECONDS = 60.0
_POLL_S = 0.1
_CALM = (1.0, 5.0)
"""Seconds from the time when all but one are back until the next attack, evenly spread: a slow machine has fewer."""
_TWO_AT_ONCE = 0.25


@dataclass
class Member:
    """One process: where it keeps its files and listens, whoever is alive there at the moment."""

    data_dir: Path
    port: int
    running: Refkeep | None = None
    ready: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass
class Fleet:
    """`settings` go to every process; `shared` is the one folder of all, where they keep bytes in a folder."""

    yard: Yard
    settings: dict[str, str]
    tally: Tally
    members: list[Member]
    _revivals: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    def of(cls, yard: Yard, settings: dict[str, str], tally: Tally, count: int, shared: Path | None) -> Fleet:
        """Nobody runs yet."""
        ports = free_ports(count)
        folders = [shared or yard.folder / f"member-{number}" for number in range(count)]
        return cls(yard, settings, tally, [Member(*each) for each in zip(folders, ports, strict=True)])

    @asynccontextmanager
    async def afloat(self) -> AsyncIterator[None]:
        """Everyone is ready at the start of the block, and gone after it."""
        try:
            await asyncio.gather(*(self._start(member) for member in self.members))
            yield
        finally:
            for task in self._revivals:
                task.cancel()
            for member in self.members:
                self._kill(member)

    def urls(self) -> list[str]:
        """Of those that answer."""
        return [member.url for member in self.members if member.ready]

    async def torment(self, until: float, rng: random.Random) -> None:
        """Kill one or two at random, again and again until that time; afterwards everyone is alive again."""
        while (left := until - time.time()) > 0:
            await asyncio.sleep(min(rng.uniform(*_CALM), left))
            ready = [member for member in self.members if member.ready]
            if len(ready) < len(self.members) - 1:
                continue
            for member in rng.sample(ready, min(len(ready), 2 if rng.random() < _TWO_AT_ONCE else 1)):
                self._look_after(member)
                self._kill(member)
                self.tally.kills += 1
                self._revive(member)
        await asyncio.gather(*self._revivals)
        for member in self.members:
            self._look_after(member)

    def _revive(self, member: Member) -> None:
        task = asyncio.create_task(self._start(member))
        self._revivals.add(task)
        task.add_done_callback(self._revivals.discard)

    async def _start(self, member: Member) -> None:
        member.data_dir.mkdir(parents=True, exist_ok=True)
        settings = {**self.settings, "PORT": str(member.port), "LOG_FORMAT": "json"}
        member.running = self.yard.launch("serve", data_dir=member.data_dir, **settings)
        deadline = time.monotonic() + START_SECONDS
        async with httpx.AsyncClient() as http:
            while not await _is_ready(http, member.url):
                if member.running.process.poll() is not None or time.monotonic() > deadline:
                    self.tally.flaw(f"a process did not come back; see {member.running.log.name}")
                    return
                await asyncio.sleep(_POLL_S)
        member.ready = True

    def _kill(self, member: Member) -> None:
        """The whole process group at once, as the end of a container or of a machine does."""
        member.ready = False
        if member.running is not None and member.running.process.poll() is None:
            os.killpg(member.running.process.pid, signal.SIGKILL)
            member.running.process.wait()

    def _look_after(self, member: Member) -> None:
        if member.running is not None and member.running.process.poll() is not None:
            self.tally.flaw(f"a process ended by itself; see {member.running.log.name}")


async def _is_ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/readyz", timeout=5)).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
