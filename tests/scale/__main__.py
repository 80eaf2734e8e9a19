"""`python -m tests.scale`: what more processes answer, and how large the tables become. Prints; judges nothing."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
import psutil
from rich.console import Console
from rich.table import Table

from tests.parts.blobs import noise
from tests.parts.postgres import PostgresServer, running_postgres
from tests.scale.ground import Ground, laid_ground
from tests.scale.partitions import probe
from tests.scale.sizes import measure

_PROCESSES = (1, 2, 4)
_BENCH = Path(__file__).parents[1] / "bench"
_SMALL = 16 * 1024
_CONNECTIONS = 32


@click.group()
def scale() -> None:
    """Figures of docs/scaling.md."""


@scale.command()
@click.option("--seconds", default=5, show_default=True, help="How long each round lasts.")
@click.option("--rounds", default=3, show_default=True)
def throughput(seconds: int, rounds: int) -> None:
    """One, two, four processes behind nginx, on one Postgres and one SeaweedFS of three volume servers."""
    columns = ["work, 16 KiB", *(f"{count} processes: /s (p99) ms of processor" for count in _PROCESSES)]
    table = Table(*columns, title=f"{os.cpu_count()} processors, {platform.machine()}, {_CONNECTIONS} connections")
    rows: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="refkeep-scale-") as name, running_postgres(Path(name) / "pg") as postgres:
        for count in _PROCESSES:
            folder = Path(name) / f"of-{count}"
            folder.mkdir()
            with laid_ground(folder, postgres, count) as ground:
                for work, taken in _works(ground, seconds, rounds):
                    rows.setdefault(work, []).append(taken)
    for work, cells in rows.items():
        table.add_row(work, *cells)
    Console(width=160).print(table)


@scale.command()
@click.option("--refs", default=200_000, show_default=True, help="How many to fill a database with.")
def sizes(refs: int) -> None:
    """Bytes of a row in each table and index, and what they come to at 10^9 refs."""
    table = Table("of", "relation", "rows for each ref", "bytes a row", "GB at 10⁹ refs", title=f"at {refs:,} refs")
    with tempfile.TemporaryDirectory(prefix="refkeep-scale-") as name, running_postgres(Path(name) / "pg") as postgres:
        _fill_sizes(table, postgres, refs)
    Console(width=160).print(table)


@scale.command()
@click.option("--refs", default=200_000, show_default=True)
def partitions(refs: int) -> None:
    """What the public probe of delivery costs with `refs` as one table, and in 16 partitions by workspace."""
    with tempfile.TemporaryDirectory(prefix="refkeep-scale-") as name, running_postgres(Path(name) / "pg") as postgres:
        probed = probe(postgres, refs)
    Console().print(f"one table {probed.whole_us:.1f} µs, 16 partitions {probed.parts_us:.1f} µs a question")


def _fill_sizes(table: Table, postgres: PostgresServer, refs: int) -> None:
    measured = measure(postgres, refs)
    for size in measured:
        name = f"  {size.relation}" if size.is_index else f"[bold]{size.relation}"
        cells = [f"{size.rows / refs:.2f}", f"{size.bytes_per_row:.0f}", f"{size.bytes / refs:,.0f}"]
        table.add_row("" if size.is_index else size.of, name, *cells)
    for is_index, name in ((False, "all tables"), (True, "all indexes")):
        total = sum(size.bytes for size in measured if size.is_index is is_index)
        table.add_row("", f"[bold]{name}", "", "", f"{total / refs:,.0f}")


def _works(ground: Ground, seconds: int, rounds: int) -> Iterable[tuple[str, str]]:
    published = [ground.writer.put(f"film/{number}/file/0", noise(_SMALL, number)) for number in range(1)]
    hot = f"/blobs/{published[0].json()['ref']['blob']['sha256']}"
    yield "GET, one hot public blob", _taken(ground, seconds, rounds, [hot])
    key = ["-H", f"Authorization: Bearer {ground.writer.token}"]
    for kind, path, words in (
        ("POST, new bytes", "/blobs", ["upload.lua"]),
        ("GET, refs of an entity", "/refs/film/0", []),
    ):
        yield kind, _taken(ground, seconds, rounds, [path], key, words)


def _taken(
    ground: Ground,
    seconds: int,
    rounds: int,
    paths: Sequence[str],
    options: Sequence[str] = (),
    script: Sequence[str] = (),
) -> str:
    """The median round: answers a second, the time in which 99 of 100 came, processor time of the replicas for each."""
    told = sorted(_round(ground, seconds, number, paths[0], options, script) for number in range(rounds))
    rate, p99, spent = told[len(told) // 2]
    return f"{rate:,.0f} ({p99}) {spent * 1000:.2f}"


def _round(
    ground: Ground, seconds: int, number: int, path: str, options: Sequence[str], script: Sequence[str]
) -> tuple[float, str, float]:
    command = ["wrk", "--latency", "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", *options]
    words = [f"{os.getpid()}-{len(ground.replicas)}-{number}", str(_SMALL)] if script else []
    command += [part for name in script for part in ("-s", str(_BENCH / name))]
    before = _processor_seconds(ground)
    done = subprocess.run(
        [*command, f"{ground.edge.url}{path}", "--", *words], capture_output=True, text=True, check=True
    )
    spent = _processor_seconds(ground) - before
    if faults := re.findall(r"Non-2xx.*|Socket errors.*", done.stdout):
        raise RuntimeError(f"{path}: {faults}")
    requests = re.findall(r"(\d+) requests in", done.stdout)[0]
    [rate] = re.findall(r"Requests/sec:\s+([\d.]+)", done.stdout)
    [p99] = re.findall(r"99%\s+(\S+)", done.stdout)
    return float(rate), p99, spent / int(requests)


def _processor_seconds(ground: Ground) -> float:
    processes = [psutil.Process(each.running.process.pid) for each in ground.replicas if each.running is not None]
    times = [each.cpu_times() for one in processes for each in (one, *one.children(recursive=True))]
    return sum(each.user + each.system for each in times)


if __name__ == "__main__":
    scale()
