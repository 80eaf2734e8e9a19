"""Requests for a while, from the other processor, and what came of them."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.peers import LOAD_CPU, Peer, pinned

CONNECTIONS = 16
_SCRIPTS = Path(__file__).parent
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Taken:
    """What one round took: requests a second, their latencies in milliseconds, processor time of each in µs."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


@dataclass(frozen=True)
class Work:
    """What wrk asks of a peer: a path, or a script with its words; `requests` of it make one piece of work."""

    path: str
    script: str | None = None
    words: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    requests: int = 1


def wrk(peer: Peer, work: Work, seconds: int) -> Taken:
    """A round of wrk with 16 connections that stay open; raises `RuntimeError` for a round with any failure."""
    command = ["wrk", "--latency", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s"]
    command += [part for name, value in work.headers.items() for part in ("-H", f"{name}: {value}")]
    command += ["-s", str(_SCRIPTS / work.script)] if work.script else []
    before = peer.cpu_seconds()
    with pinned(LOAD_CPU):
        command += [peer.url + work.path, "--", *work.words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    spent = peer.cpu_seconds() - before
    if faults := re.findall(r"Non-2xx.*|Socket errors.*", done.stdout):
        raise RuntimeError("\n".join([f"{peer.name}: {faults}", *peer.complaints()]))
    pieces = int(_found(r"(\d+) requests in", done.stdout)) / work.requests
    rate = float(_found(r"Requests/sec:\s+([\d.]+)", done.stdout)) / work.requests
    return Taken(rate, _latency("50", done.stdout), _latency("99", done.stdout), 1e6 * spent / max(pieces, 1))


def timed(command: Sequence[str], cpu: int) -> float:
    """The seconds that a command takes on a processor; raises when it fails."""
    with pinned(cpu):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began


def _latency(percent: str, told: str) -> float:
    number, unit = re.findall(rf"{percent}%\s+([\d.]+)(us|ms|s|m)", told)[0]
    return float(number) * _UNITS[unit]


def _found(pattern: str, told: str) -> str:
    found = re.search(pattern, told)
    assert found is not None, told
    return found[1]
