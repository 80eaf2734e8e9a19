"""`python -m tests.bench`: Refkeep and its peers side by side, in turns, each server alone on its processor."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import click
from rich.console import Console

from tests.bench import peers
from tests.bench.content import fill_refkeep, fill_renditions, fill_seaweed, many, write_files
from tests.bench.peers import program
from tests.bench.report import Result, is_met, machine, markdown, table_of
from tests.bench.rows import AS_LARGE, NGINX, REFKEEP, REGISTRY, ROWS, SEAWEED, Row, Yard
from tests.bench.telemetry import VARIANTS

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_PROGRAMS = {NGINX: "nginx", REGISTRY: "docker-registry"}
_BETWEEN = re.compile(r"(?<=<!-- measured -->\n).*(?=<!-- end -->)", re.DOTALL)


@click.command()
@click.option("--rounds", default=5, show_default=True, help="How often everybody has a turn at each row.")
@click.option("--seconds", default=5, show_default=True, help="How long a turn takes.")
@click.option("--only", multiple=True, help="Rows whose name has this in it; again for more of them.")
@click.option("--write", is_flag=True, help="Put the figures into docs/benchmarks.md.")
def bench(rounds: int, seconds: int, only: tuple[str, ...], write: bool) -> None:
    """Measure every row; exit status 1 where a bound is not met, 2 where a program is missing that all rows need."""
    rows = [row for row in ROWS if not only or any(word in row.name for word in only)]
    for name in ("wrk", "curl"):
        if program(name) is None:
            click.echo(f"{name} is missing: apt-get install {name}", err=True)
            sys.exit(2)
    missing = [name for name, binary in _PROGRAMS.items() if program(binary) is None]
    with tempfile.TemporaryDirectory(prefix="refkeep-bench-") as folder, ExitStack() as stack:
        if not stack.enter_context(peers.scheduled_as_in_a_unit()):
            click.echo(
                "sessions compete as groups here: sysctl kernel.sched_autogroup_enabled=0 for fair figures", err=True
            )
        yard = _opened(stack, Path(folder), rows, missing)
        results = [_measured(yard, row, missing, rounds, seconds) for row in rows]
        releases = ", ".join(f"{peer.name} {peer.release}" for peer in yard.peers.values())
    Console(width=120).print(table_of(results, missing))
    if write:
        about = f"{datetime.now(UTC):%Y-%m-%d} · {machine()} · {releases} · {rounds} rounds of {seconds} s"
        PAGE.write_text(_BETWEEN.sub(lambda _: markdown(results, missing, about), PAGE.read_text()))
    for name in missing:
        click.echo(f"not measured against {name}: apt-get install {_PROGRAMS[name]}", err=True)
    sys.exit(1 if any(not is_met(result, name) for result in results for name in result.row.bounds) else 0)


def _opened(stack: ExitStack, folder: Path, rows: Sequence[Row], missing: Sequence[str]) -> Yard:
    """Start everybody who takes part, and hand out what is asked for."""
    wanted = {name for row in rows for name in row.contestants} - {*missing}
    www = folder / "www"
    www.mkdir()
    folder.chmod(0o755)  # nginx's workers are another user
    files = write_files(www)
    started = {name: stack.enter_context(start(folder)) for name, start in VARIANTS.items() if name in wanted}
    if NGINX in wanted:
        started[NGINX] = stack.enter_context(peers.nginx(folder, www))
    if REGISTRY in wanted:
        started[REGISTRY] = stack.enter_context(peers.registry(folder))
    if SEAWEED in wanted:
        started[SEAWEED] = stack.enter_context(peers.seaweed(folder))
    yard = Yard(folder, started, {(NGINX, name): f"/{name}" for name in files}, {}, count())
    fills = {**dict.fromkeys(VARIANTS, fill_refkeep), SEAWEED: fill_seaweed}
    for name, fill in ((name, fill) for name, fill in fills.items() if name in started):
        paths = fill(started[name], [each.path.read_bytes() for each in files.values()], "file")
        yard.paths |= {(name, size): path for size, path in zip(files, paths, strict=True)}
        if any("random" in row.name and name in row.contestants for row in rows):
            began = time.monotonic()
            yard.many[name] = folder / f"paths-{name}"
            with peers.at_large(started[name]):
                yard.many[name].write_text("\n".join(fill(started[name], many(), "many")))
            click.echo(f"{name} has 20,000 blobs, in {time.monotonic() - began:.0f} s", err=True)
    if AS_LARGE in wanted:
        yard.made |= fill_renditions(started[REFKEEP])
    return yard


def _measured(yard: Yard, row: Row, missing: Sequence[str], rounds: int, seconds: int) -> Result:
    """All take turns; the first turn of each is for warming up."""
    result = Result(row)
    contestants = [name for name in row.contestants if name not in missing]
    for number in range(-1, rounds):
        for name in contestants:
            taken = row.round(yard, name, seconds if number >= 0 else 1)
            if number >= 0:
                result.rounds.setdefault(name, []).append(taken)
        click.echo(f"{row.name}: round {max(number + 1, 0)} of {rounds}", err=True)
    return result


if __name__ == "__main__":
    bench()
