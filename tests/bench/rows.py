"""The rows of the table: what is asked of whom, and what the ratio must be."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.content import BROWSER, KIB, MIB, digests
from tests.bench.load import Taken, Work, timed, wrk
from tests.bench.peers import LOAD_CPU, SERVER_CPU, Peer

REFKEEP, NGINX, SEAWEED, REGISTRY = "Refkeep", "nginx", "SeaweedFS S3", "docker-registry"
TRACING, HANGING, SILENT = "all traced", "with a collector that hangs", "telemetry off"
"""Refkeep, too, with other telemetry: see `tests.bench.telemetry`."""
AS_LARGE = "a blob of that size"
"""The same Refkeep, which is asked for bytes that were sent to it."""
SHA256SUM: Final = "sha256sum"
_DIGESTS_A_SECOND = 6000
_BIG = 256 * MIB


@dataclass
class Yard:
    """What runs, and where it has what is asked for; `folder` is for what the load brings along."""

    folder: Path
    peers: dict[str, Peer]
    paths: dict[tuple[str, str], str]
    many: dict[str, Path]
    stamps: Iterable[int]
    made: dict[str, str] = field(default_factory=dict)

    def stamp(self, name: str) -> str:
        """A word that no round has used."""
        return f"{name}-{os.getpid()}-{next(iter(self.stamps))}"


Round = Callable[[Yard, str, int], Taken]
"""From what runs, whom to ask, and for how many seconds, to what one round took."""


@dataclass(frozen=True)
class Row:
    """One kind of work. `bounds`: how many times as fast as a peer Refkeep must at least be.

    `subject` is which Refkeep; `figure` what of a round is compared, the higher the better.
    """

    name: str
    unit: str
    bounds: Mapping[str, float]
    round: Round
    subject: str = REFKEEP
    figure: Callable[[Taken], float] = lambda taken: taken.rate

    @property
    def contestants(self) -> list[str]:
        """Who takes part, in the order of turns."""
        return [*self.bounds, self.subject]


def _get(size: str) -> Round:
    def take(yard: Yard, name: str, seconds: int) -> Taken:
        return wrk(yard.peers[name], Work(yard.paths[name, size]), seconds)

    return take


def _get_made(rendition: str) -> Round:
    """A rendition that was made already, as a browser asks for it, or a blob of its size in the same way."""

    def take(yard: Yard, name: str, seconds: int) -> Taken:
        path = yard.made[f"blob like {rendition}" if name == AS_LARGE else rendition]
        return wrk(yard.peers[REFKEEP], Work(path, headers={"Accept": BROWSER}), seconds)

    return take


def _get_many(yard: Yard, name: str, seconds: int) -> Taken:
    return wrk(yard.peers[name], Work("/", "paths.lua", [str(yard.many[name])]), seconds)


def _put_small(yard: Yard, name: str, seconds: int) -> Taken:
    peer, size, stamp = yard.peers[name], 16 * KIB, yard.stamp(name)
    if name == REFKEEP:
        return wrk(peer, Work("/blobs", "upload.lua", [stamp, str(size)], peer.key), seconds)
    told = yard.folder / "digests"
    told.write_text("\n".join(digests(stamp, size, _DIGESTS_A_SECOND * seconds)))
    work = Work("/v2/bench/blobs/uploads/", "registry.lua", [stamp, str(size), str(told)], requests=2)
    return wrk(peer, work, seconds)


def _put_big(yard: Yard, name: str, _: int) -> Taken:
    """New bytes each time; a file is hashed where the server would be."""
    path = yard.folder / "big"
    with path.open("r+b" if path.exists() else "wb") as file:
        file.truncate(_BIG)
        file.write(yard.stamp(name).encode())
    if name == SHA256SUM:
        seconds = timed([SHA256SUM, str(path)], SERVER_CPU)
        return Taken(1 / seconds, seconds * 1000, seconds * 1000, seconds * 1e6)
    peer = yard.peers[name]
    key = [word for header, value in peer.key.items() for word in ("-H", f"{header}: {value}")]
    sent = ["curl", "--silent", "--show-error", "--fail", "-X", "POST", "-T", str(path), *key, f"{peer.url}/blobs"]
    before = peer.cpu_seconds()
    seconds = timed(sent, LOAD_CPU)
    return Taken(1 / seconds, seconds * 1000, seconds * 1000, (peer.cpu_seconds() - before) * 1e6)


def _promptness(taken: Taken) -> float:
    """How often the slowest of a hundred answers fits into a second."""
    return 1000 / taken.p99_ms


_A_THIRD, _A_TRIFLE = round(1 / 1.35, 2), 0.97
"""What telemetry may cost: 35 % and 3 % more time."""
_AS_FAST = 0.90
"""What was made here is sent as what was sent here is."""

ROWS: Final = (
    Row("GET 16 KiB, one hot public blob", "/s", {NGINX: 0.20, SEAWEED: 2.0}, _get("16k")),
    Row("GET 16 KiB, 20,000 blobs at random", "/s", {SEAWEED: 1.0}, _get_many),
    Row("GET a preset, warm, by extension", "/s", {AS_LARGE: _AS_FAST}, _get_made("small.webp")),
    Row("GET a preset, warm, by Accept", "/s", {AS_LARGE: _AS_FAST}, _get_made("small")),
    Row("GET a large preset, warm", "/s", {AS_LARGE: _AS_FAST}, _get_made("large.webp")),
    Row("GET 1 MiB", "/s", {NGINX: 1.0}, _get("1m")),
    Row("GET 64 MiB", "/s", {NGINX: 1.0}, _get("64m")),
    Row("PUT 16 KiB, new, durable", "/s", {REGISTRY: 1.0}, _put_small),
    Row("PUT 256 MiB", "/s", {SHA256SUM: 0.5}, _put_big),
    Row("GET 16 KiB, telemetry on", "/s", {SILENT: _A_THIRD}, _get("16k")),
    Row("GET 16 KiB, all traced", "/s", {SILENT: _A_THIRD}, _get("16k"), TRACING),
    Row("GET 10 MiB, telemetry on", "/s", {SILENT: _A_TRIFLE}, _get("10m")),
    Row("GET 10 MiB, all traced", "/s", {SILENT: _A_TRIFLE}, _get("10m"), TRACING),
    Row("GET 16 KiB, 1 s / p99, collector hangs", "/s", {TRACING: 0.95}, _get("16k"), HANGING, _promptness),
)
