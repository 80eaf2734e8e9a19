"""`python -m tests.bench.pictures`: presets of a photograph of 12 megapixels, cold, on all cores, beside others.

Refkeep, thumbor and ipx as servers, asked over HTTP; Refkeep's renderer as a worker calls it; and libvips' own
thumbnailer in a loop, one process a core. All fill the same box with the same photographs, in the same format and
quality; Refkeep alone keeps what it made, durably. AVIF is as each one makes it: its speed is a matter of effort, which
has no common scale. The peers are looked for in the folder that `--peers` names: `npm install ipx`, `python3 -m venv
thumbor`, and in that `pip install thumbor`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import anyio
import click
import httpx
import psutil
from rich.console import Console
from rich.table import Table

from service.adapters.vips.renderer import VipsRenderer, rendering_bounds
from service.domain.layout import Size
from service.domain.rendition import DEFAULT_QUALITY, Fit, Format, Preset
from tests.bench.report import machine
from tests.bench.studio import HEIGHTS, height_of, running_studio
from tests.parts.pictures import photograph
from tests.parts.seaweed import free_ports

CORES = len(os.sched_getaffinity(0))
FILES = 16
REFKEEP, RENDERER, THUMBOR, IPX, LOOP = "Refkeep", "its renderer", "thumbor", "ipx", "vips thumbnail"
BOUNDS = {THUMBOR: 1.0, IPX: 1.0, LOOP: 0.8}
WIDTHS = (160, 320, 640, 1280)
FORMATS = (Format.JPEG, Format.WEBP, Format.AVIF)
_QUALITY = DEFAULT_QUALITY
_SUFFIXES = {
    Format.JPEG: f".jpg[Q={_QUALITY[Format.JPEG]}]",
    Format.WEBP: f".webp[Q={_QUALITY[Format.WEBP]}]",
    Format.AVIF: f".avif[Q={_QUALITY[Format.AVIF]},effort=1,bitdepth=8]",
}
"""What libvips has by itself, but for the effort of AVIF, which is ours."""
_THUMBOR = """
LOADER = 'thumbor.loaders.file_loader'
FILE_LOADER_ROOT_PATH = '{folder}'
ALLOW_UNSAFE_URL = True
AUTO_WEBP = False
STORAGE = 'thumbor.storages.no_storage'
RESULT_STORAGE = None
MAX_PIXELS = 75000000
"""
_LOOP = """
import itertools, pathlib, sys, time
import pyvips
pyvips.cache_set_max(0)
folder, width, height = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
suffix, seconds = sys.argv[4], float(sys.argv[5])
names = sorted(folder.glob("*.jpg"))
pyvips.Image.thumbnail(str(names[0]), 16).write_to_buffer(suffix)
made, began, before = 0, time.monotonic(), time.process_time()
for name in itertools.cycle(names):
    pyvips.Image.thumbnail(str(name), width, height=height, crop="centre").write_to_buffer(suffix)
    made += 1
    if time.monotonic() - began >= seconds:
        break
print(made / (time.monotonic() - began), 1000 * (time.process_time() - before) / made)
"""

Make = Callable[[Path, Size, Format], Awaitable[int]]
"""Makes one rendition of a file, in a box that it fills and a format; its bytes."""


@dataclass(frozen=True)
class Contestant:
    """Who takes part; `spent` are the seconds of processors that its processes have used so far."""

    name: str
    make: Make
    spent: Callable[[], float]


@dataclass(frozen=True)
class Taken:
    """Renditions a second, and what each took of a processor, in milliseconds."""

    rate: float
    cpu_ms: float


async def _rate(contestant: Contestant, files: Sequence[Path], work: tuple[int, Format], seconds: float) -> Taken:
    """With `2 * CORES` renditions under way."""
    began, done, numbers, before = time.monotonic(), 0, count(), contestant.spent()

    async def make() -> None:
        nonlocal done
        while time.monotonic() - began < seconds:
            number, (width, chosen) = next(numbers), work
            box = Size(width, height_of(width, number // len(files) % HEIGHTS))
            await contestant.make(files[number % len(files)], box, chosen)
            done += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(2 * CORES):
            tasks.start_soon(make)
    return Taken(done / (time.monotonic() - began), 1000 * (contestant.spent() - before) / done)


def _tree(pid: int) -> float:
    """Seconds of processors that a process and all that it has started have used."""
    root, used = psutil.Process(pid), 0.0
    for each in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # ended meanwhile
            used += sum(each.cpu_times()[:4])
    return used


def _loop(folder: Path, work: tuple[int, Format], seconds: float) -> Taken:
    """One process a core, which decodes and encodes as `vips thumbnail` does, and nothing else."""
    width, chosen = work
    box = (str(width), str(height_of(width, 0)))
    command = [sys.executable, "-c", _LOOP, str(folder), *box, _SUFFIXES[chosen], str(seconds)]
    environment = {**os.environ, "VIPS_CONCURRENCY": "1"}
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(CORES)]
    told = [each.communicate(timeout=seconds + 120)[0].split() for each in running]
    return Taken(sum(float(rate) for rate, _ in told), statistics.mean(float(cpu_ms) for _, cpu_ms in told))


def _own() -> float:
    """Of this process and its own rendering children, not of the other contestants."""
    used = sum(psutil.Process().cpu_times()[:4])
    for each in psutil.Process().children():
        if "service.adapters.vips.child" in each.cmdline():
            used += sum(each.cpu_times()[:4])
    return used


@contextlib.asynccontextmanager
async def _renderer() -> AsyncIterator[Contestant]:
    as_nice_as_peers = replace(rendering_bounds(), niceness=0)
    async with contextlib.aclosing(VipsRenderer(as_nice_as_peers)) as renderer:

        async def make(file: Path, size: Size, chosen: Format) -> int:
            preset = Preset("any", size.width, size.height, Fit.COVER)
            return len((await renderer.render(file, "image/jpeg", preset, chosen)).content)

        yield Contestant(RENDERER, make, _own)


@contextlib.asynccontextmanager
async def _refkeep(folder: Path, files: Sequence[Path], widths: Sequence[int]) -> AsyncIterator[Contestant]:
    async with running_studio(folder, files, widths) as (studio, pid):
        yield Contestant(REFKEEP, studio.make, lambda: _tree(pid))


@contextlib.asynccontextmanager
async def _server(
    name: str, command: list[str], environment: dict[str, str], url: Callable[[str, Size, Format], str]
) -> AsyncIterator[Contestant]:
    with _running(command, environment) as pid:
        async with httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=2 * CORES)) as http:

            async def make(file: Path, size: Size, chosen: Format) -> int:
                answer = await http.get(url(file.name, size, chosen))
                answer.raise_for_status()
                assert answer.headers["content-type"] == chosen.media_type, answer.headers
                return len(answer.content)

            await _await(http, url("0.jpg", Size(16, 12), Format.JPEG))
            yield Contestant(name, make, lambda: _tree(pid))


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[int]:
    quiet = subprocess.DEVNULL
    variables = {**os.environ, **environment}
    process = subprocess.Popen(command, env=variables, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # thumbor leaves its processes behind
        process.wait(30)


async def _await(http: httpx.AsyncClient, url: str) -> None:
    with anyio.fail_after(60):
        while True:
            with contextlib.suppress(httpx.TransportError):
                (await http.get(url)).raise_for_status()
                return
            await anyio.sleep(0.1)


def _thumbor(peers: Path, folder: Path) -> contextlib.AbstractAsyncContextManager[Contestant]:
    [port] = free_ports(1)
    (folder / "thumbor.conf").write_text(_THUMBOR.format(folder=folder))
    program = [str(peers / "thumbor/bin/thumbor"), "--port", str(port), "--ip", "127.0.0.1"]
    command = [*program, "--conf", str(folder / "thumbor.conf"), "--processes", str(CORES)]

    def url(file: str, size: Size, chosen: Format) -> str:
        filters = f"filters:quality({_QUALITY[chosen]}):format({chosen})"
        return f"http://127.0.0.1:{port}/unsafe/{size.width}x{size.height}/{filters}/{file}"

    return _server(THUMBOR, command, {}, url)


def _ipx(peers: Path, folder: Path) -> contextlib.AbstractAsyncContextManager[Contestant]:
    [port] = free_ports(1)
    command = [str(peers / "node_modules/.bin/ipx"), "serve", "--dir", str(folder), "--host", "127.0.0.1"]

    def url(file: str, size: Size, chosen: Format) -> str:
        return f"http://127.0.0.1:{port}/s_{size.width}x{size.height},f_{chosen},q_{_QUALITY[chosen]}/{file}"

    return _server(IPX, [*command, "--port", str(port)], {"PORT": str(port)}, url)


@click.command()
@click.option("--rounds", default=3, show_default=True, help="How often everybody has a turn at each row.")
@click.option("--seconds", default=4.0, show_default=True, help="How long a turn takes.")
@click.option("--only", multiple=True, help="Rows whose name has this in it; again for more of them.")
@click.option("--peers", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Where the peers are.")
def bench(rounds: int, seconds: float, only: tuple[str, ...], peers: Path) -> None:
    """Measure every row; exit status 1 where a bound is not met."""
    with tempfile.TemporaryDirectory(prefix="refkeep-pictures-") as folder:
        _write_files(Path(folder))
        rows = [(width, chosen) for width in WIDTHS for chosen in FORMATS]
        rows = [row for row in rows if not only or any(word in f"{row[0]} {row[1]}" for word in only)]
        table, is_met = anyio.run(_measure, Path(folder), peers.resolve(), rows, (rounds, seconds))
    Console(width=120).print(table)
    sys.exit(0 if is_met else 1)


def _write_files(folder: Path) -> None:
    """One photograph, pushed aside a little each time: nobody has seen its bytes, and the work stays the same."""
    whole = photograph(4000, 3000)
    for number in range(FILES):
        whole.wrap(x=16 * number, y=0).jpegsave(str(folder / f"{number}.jpg"), Q=92)


async def _measure(
    folder: Path, peers: Path, rows: Sequence[tuple[int, Format]], turns: tuple[int, float]
) -> tuple[Table, bool]:
    files = sorted(folder.glob("*.jpg"))
    programs = {THUMBOR: ("thumbor/bin/thumbor", _thumbor), IPX: ("node_modules/.bin/ipx", _ipx)}
    heads = ("work", "", "/s", "peer", "/s", "ratio", "at least", "", "cpu ms", "peer's", "ratio")
    table, is_met = Table(*heads, title=_title()), True
    async with contextlib.AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="refkeep-studio-")))
        ours = [_refkeep(home, files, sorted({width for width, _ in rows})), _renderer()]
        contestants = [await stack.enter_async_context(each) for each in ours]
        for name, (program, start) in programs.items():
            if (peers / program).exists():
                contestants.append(await stack.enter_async_context(start(peers, folder)))
            else:
                click.echo(f"not measured against {name}: {peers / program} is missing", err=True)
        for row in rows:
            taken = await _row(contestants, files, row, *turns)
            for subject, name in ((ours, each) for ours in (REFKEEP, RENDERER) for each in BOUNDS if each in taken):
                line, ratio = _compared(subject, taken[subject], name, taken[name])
                is_met = is_met and (ratio >= BOUNDS[name] or subject != REFKEEP)
                table.add_row(f"{row[0]} {row[1]}", *line)
    return table, is_met


def _compared(subject: str, ours: list[Taken], name: str, theirs: list[Taken]) -> tuple[list[str], float]:
    """A line of the table; each ratio is the median of the rounds' own."""
    pairs = [*zip(ours, theirs, strict=True)]
    ratio = statistics.median(one.rate / other.rate for one, other in pairs)
    of_cpu = statistics.median(other.cpu_ms / one.cpu_ms for one, other in pairs)
    rates = [f"{statistics.median(turn.rate for turn in turns):.1f}" for turns in (ours, theirs)]
    spent = [f"{statistics.median(turn.cpu_ms for turn in turns):.0f}" for turns in (ours, theirs)]
    verdict = "met" if ratio >= BOUNDS[name] else "not met"
    figures = [f"{ratio:.2f}", f"{BOUNDS[name]:g}", verdict, *spent, f"{of_cpu:.2f}"]
    return [subject, rates[0], name, rates[1], *figures], ratio


async def _row(
    contestants: Sequence[Contestant], files: Sequence[Path], work: tuple[int, Format], rounds: int, seconds: float
) -> dict[str, list[Taken]]:
    """All take turns; the first turn of each is for warming up."""
    taken: dict[str, list[Taken]] = {}
    for number in range(-1, rounds):
        for each in contestants:
            turn = await _rate(each, files, work, seconds if number >= 0 else 0.5)
            if number >= 0:
                taken.setdefault(each.name, []).append(turn)
        if number >= 0:
            turn = await anyio.to_thread.run_sync(_loop, files[0].parent, work, seconds)
            taken.setdefault(LOOP, []).append(turn)
        click.echo(f"{work[0]} {work[1]}: round {number + 1} of {rounds}", err=True)
    return taken


def _title() -> str:
    return f"{machine()}; load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    bench()
