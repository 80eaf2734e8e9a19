"""`python -m tests.growth`: what each operation costs as everything grows, side by side in one run.

Measured is how long the database's process was on a processor for it (proc_pid_schedstat(5)), which a busy machine
changes little, and beside it how long a caller waited.
"""

from __future__ import annotations

import asyncio
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from itertools import pairwise
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from service.telemetry.logs import configure_logs
from tests.growth.operations import Operations
from tests.growth.world import World, fill
from tests.parts.ledgers import opened_database
from tests.parts.postgres import running_postgres, session

MOST = 1.3
"""The claim: no operation costs more than so many times what it costs with a tenth of the refs."""
NOISE_MS = 0.1
"""A difference below this is the machine's."""
_WARMING = 30

Taken = dict[str, dict[int, list[tuple[float, float]]]]
Costs = dict[str, dict[int, tuple[float, float]]]
"""Milliseconds on a processor, and until the answer, of each operation at each size."""


@click.command()
@click.option("--rounds", default=300, show_default=True, help="How often each operation is measured at each size.")
@click.option("--seed", default=7, show_default=True)
@click.option("--refs", "sizes", type=int, multiple=True, help="Other sizes.")
def growth(rounds: int, seed: int, sizes: tuple[int, ...]) -> None:
    """Measure at 10,000, 100,000 and 1,000,000 refs; with LONG=1 at 10,000,000, too."""
    configure_logs("console", "error")
    sizes = sizes or (10_000, 100_000, 1_000_000, *((10_000_000,) if os.environ.get("LONG") else ()))
    with tempfile.TemporaryDirectory(prefix="refkeep-growth-") as folder, ExitStack() as stack:
        server = stack.enter_context(running_postgres(Path(folder) / "postgres"))
        template = stack.enter_context(server.migrated_template())
        urls = {size: stack.enter_context(server.database(template)) for size in sizes}
        costs = asyncio.run(_measure(urls, rounds, random.Random(seed)))
    _show(sizes, costs)
    sys.exit(1 if _worse(sizes, costs) else 0)


async def _measure(urls: dict[int, str], rounds: int, rng: random.Random) -> Costs:
    """The median of each operation at each size, in milliseconds; sizes take turns, in an order that changes."""
    for size, url in urls.items():
        began = time.monotonic()
        async with session(url) as connection:
            await fill(connection, World(size))
        click.echo(f"{size:,} refs filled in {time.monotonic() - began:.0f} s", err=True)
    taken: Taken = defaultdict(lambda: defaultdict(list))
    async with AsyncExitStack() as stack:
        worlds = []
        for size, url in urls.items():
            database = await stack.enter_async_context(opened_database(url, 1))
            worlds.append(Operations(database, World(size), random.Random(rng.random())))
            await worlds[-1].prepare()
            worlds[-1].pid = await worlds[-1].process()
        for number in track(range(_WARMING + rounds), description="measuring"):
            rng.shuffle(worlds)
            for name in worlds[0].all():
                for world in worlds:
                    spent = await _time(world, name)
                    if number >= _WARMING:
                        taken[name][world.world.refs].append(spent)
    return {name: {size: _medians(each) for size, each in sizes.items()} for name, sizes in taken.items()}


def _medians(spent: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(each[0] for each in spent), statistics.median(each[1] for each in spent)


def _on_processor(pid: int) -> float:
    """Milliseconds so far."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


async def _time(world: Operations, name: str) -> tuple[float, float]:
    if name == "review of a holding":
        await world.make_due()
    operation, computed, began = world.all()[name], _on_processor(world.pid), time.perf_counter()
    await operation()
    waited = (time.perf_counter() - began) * 1000
    return _on_processor(world.pid) - computed, waited


def _worse(sizes: Sequence[int], costs: Costs) -> list[str]:
    """The operations that cost more than they may with ten times as much."""
    return [
        name
        for name, cost in costs.items()
        for less, more in pairwise(sizes)
        if cost[more][0] > MOST * cost[less][0] and cost[more][0] - cost[less][0] > NOISE_MS
    ]


def _show(sizes: Sequence[int], costs: Costs) -> None:
    table = Table("p50: ms computed (waited)", *(f"{size:,} refs" for size in sizes), "last / first", title=_machine())
    for name, cost in costs.items():
        ratio = cost[sizes[-1]][0] / cost[sizes[0]][0]
        table.add_row(name, *(f"{cost[size][0]:.2f} ({cost[size][1]:.1f})" for size in sizes), f"{ratio:.2f}")
    console = Console(width=110)
    console.print(table)
    for name in _worse(sizes, costs):
        console.print(f"[red]grows:[/] {name}")


def _machine() -> str:
    cpus = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = cpus[0].partition(":")[2].strip() if cpus else platform.machine()
    return f"{len(cpus)} × {model}, Linux {platform.release()}, Python {platform.python_version()}, PostgreSQL 18"


if __name__ == "__main__":
    growth()
