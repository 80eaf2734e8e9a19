"""One run: a world, its processes, its clients, the attacks on them, and what is left afterwards."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from service.commands import keys as key_commands
from tests.chaos.aftermath import Aftermath
from tests.chaos.books import Shelf
from tests.chaos.calls import Calls
from tests.chaos.client import Client
from tests.chaos.contents import Contents
from tests.chaos.fleet import Fleet
from tests.chaos.lifetimes import Lifetimes
from tests.chaos.places import Kind, Place, opened_place
from tests.chaos.tally import Tally
from tests.parts.ledgers import opened_database
from tests.parts.postgres import PostgresServer
from tests.parts.service import Yard, command_here, run_command

_NEIGHBOURS = 5
"""Clients of one workspace."""


@dataclass(frozen=True)
class Plan:
    """What to do; the same seed makes the same choices, though not the same timing."""

    seconds: float
    clients: int
    processes: int
    store: Kind
    seed: int
    lifetimes: Lifetimes = field(default_factory=Lifetimes)


def run(plan: Plan, postgres: PostgresServer, folder: Path) -> Tally:
    """Blocks for `plan.seconds` and about a minute of quiet."""
    with postgres.database() as dsn, opened_place(plan.store, folder) as place:
        settings = {**place.settings, **plan.lifetimes.settings(), "DATABASE_URL": dsn}
        run_command("migrate", DATABASE_URL=dsn)
        return asyncio.run(_run(plan, Yard(folder, postgres), place, settings, _Credentials(dsn)))


async def _run(plan: Plan, yard: Yard, place: Place, settings: dict[str, str], credentials: _Credentials) -> Tally:
    tally, rng = Tally(), random.Random(plan.seed)
    fleet = Fleet.of(yard, settings, tally, plan.processes, place.shared)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=plan.clients)
    async with (
        httpx.AsyncClient(limits=limits) as http,
        opened_database(settings["DATABASE_URL"], 2) as database,
        fleet.afloat(),
    ):
        calls = Calls(http, fleet, tally, random.Random(rng.random()))
        clients = _clients(plan, calls, rng, await asyncio.to_thread(credentials.of_workspaces, plan.clients))
        until = time.time() + plan.seconds
        await asyncio.gather(fleet.torment(until, rng), *(client.work(until) for client in clients))
        tally.facts["seconds under attack"] = round(plan.seconds)
        await Aftermath(database, place, fleet, clients, plan.lifetimes, settings, tally).check()
    return tally


@dataclass(frozen=True)
class _Credentials:
    """Keys as `refkeep keys create` makes them."""

    database_url: str

    def of_workspaces(self, clients: int) -> dict[str | None, dict[str, str]]:
        """The headers of a writer of each workspace, and of the operator: None."""
        slugs = [f"workspace-{number}" for number in range(max(2, clients // _NEIGHBOURS))]
        for slug in slugs:
            self._say(key_commands.workspaces, "create", slug)
        scopes = ["--scope", "read", "--scope", "write", "--scope", "admin"]
        writers: dict[str | None, dict[str, str]] = {slug: self._bearer("--workspace", slug, *scopes) for slug in slugs}
        return {**writers, None: self._bearer("--all-workspaces", *scopes, "--scope", "operator")}

    def _bearer(self, *words: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self._say(key_commands.keys, 'create', '--name', 'chaos', *words)}"}

    def _say(self, group: Any, *words: str) -> str:
        done = command_here(group, *words, DATABASE_URL=self.database_url)
        if done.status:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()


def _clients(plan: Plan, calls: Calls, rng: random.Random, headers: dict[str | None, dict[str, str]]) -> list[Client]:
    """Each has two lists and two single slots in its workspace, and a list in another one."""
    contents = Contents(rng)
    slugs = [slug for slug in headers if slug is not None]
    operator = headers[None]
    clients = []
    for number in range(plan.clients):
        own, other = slugs[number % len(slugs)], slugs[(number + 1) % len(slugs)]
        shelves = [Shelf(own, headers[own], f"document/{number}-{each}", "file", is_single=False) for each in range(2)]
        shelves += [Shelf(own, headers[own], f"book/{number}-{each}", "cover", is_single=True) for each in range(2)]
        guest = {**operator, "workspace": other}
        shelves.append(Shelf(other, guest, f"document/{number}-guest", "file", is_single=False))
        own_rng = random.Random(rng.random())
        clients.append(Client(shelves, operator, calls, contents, plan.lifetimes, calls.tally, own_rng))
    return clients
