"""nginx and Varnish as Debian ships them, with the configurations of deploy/, in front of real replicas."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import httpx
import psutil

from tests.parts.seaweed import free_ports
from tests.parts.service import eventually

DEPLOY = Path(__file__).parents[2] / "deploy"
START_SECONDS = 30.0
_NGINX = """
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
daemon off;
worker_processes 1;
worker_rlimit_nofile 4096;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


@dataclass(frozen=True)
class Edge:
    """A running cache: where it answers, and its process."""

    name: str
    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def purge(self, *paths: str, tag: str) -> None:
        """Let go of what carries the tag, as docs/delivery-cdn.md says: nginx is told the paths, Varnish the tag."""
        if self.name == "varnish":
            response = httpx.request("BAN", self.url, headers={"surrogate-key": tag}, timeout=10)
            assert response.status_code == 204, response.text
            return
        with (self.folder / "held.map").open("a") as held:
            held.writelines(f"~^{path} 1;\n" for path in paths)
        old = psutil.Process(self.process.pid).children()
        self.process.send_signal(signal.SIGHUP)
        eventually(lambda: not {each.pid for each in old} & {each.pid for each in self._workers()}, 10)

    def _workers(self) -> list[psutil.Process]:
        return [each for each in psutil.Process(self.process.pid).children() if _takes_requests(each)]

    @property
    def log(self) -> str:
        """What it complained of."""
        return "\n".join(path.read_text(errors="replace") for path in self.folder.glob("*.log"))


@contextlib.contextmanager
def running_nginx(folder: Path, replicas: Sequence[int], changes: Mapping[str, str] | None = None) -> Iterator[Edge]:
    """nginx in front of the two ports; `changes` are made to the text of the configuration."""
    [port] = free_ports(1)
    (folder / "held.map").touch()
    ours = {
        "listen 80;": f"listen 127.0.0.1:{port} backlog=1024;",
        "/var/cache/nginx/refkeep": f"{folder}/cache",
        "/etc/nginx/refkeep-held.map;": f"{folder}/held.map;",
        **{f"refkeep-{number}:8080": f"127.0.0.1:{each}" for number, each in enumerate(replicas, 1)},
        **(changes or {}),
    }
    (folder / "site.conf").write_text(_changed((DEPLOY / "nginx-cdn.conf").read_text(), ours))
    with _running("nginx", folder, port, _nginx_command(folder)) as edge:
        yield edge


@contextlib.contextmanager
def running_balancer(folder: Path, replicas: Sequence[int]) -> Iterator[Edge]:
    """nginx without a cache in front of up to four ports."""
    [port] = free_ports(1)
    text = (DEPLOY / "nginx.conf").read_text()
    for number in range(1, 5):
        line = f"server refkeep-{number}:8080 "
        assert text.count(line) == 2, f"{line!r} stands there {text.count(line)} times"
        here = f"server 127.0.0.1:{replicas[number - 1]} " if number <= len(replicas) else "# "
        text = text.replace(line, here)
    (folder / "site.conf").write_text(_changed(text, {"listen 80;": f"listen 127.0.0.1:{port} backlog=1024;"}))
    with _running("nginx", folder, port, _nginx_command(folder)) as edge:
        yield edge


def _nginx_command(folder: Path) -> list[str]:
    user = "user root;" if os.geteuid() == 0 else ""  # who else might not enter the folder
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, user=user))
    return [program("nginx"), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]


@contextlib.contextmanager
def running_varnish(folder: Path, replicas: Sequence[int], changes: Mapping[str, str] | None = None) -> Iterator[Edge]:
    """Varnish in front of the two ports; `changes` are made to the text of the configuration."""
    [port] = free_ports(1)
    ours = {
        f'.host = "refkeep-{number}";\n    .port = "8080";': f'.host = "127.0.0.1";\n    .port = "{each}";'
        for number, each in enumerate(replicas, 1)
    }
    (folder / "site.vcl").write_text(_changed((DEPLOY / "varnish.vcl").read_text(), {**ours, **(changes or {})}))
    command = [program("varnishd"), "-F", "-j", "none", "-n", str(folder / "work"), "-f", str(folder / "site.vcl")]
    command += ["-a", f"127.0.0.1:{port}", "-s", "malloc,512m"]
    with _running("varnish", folder, port, command) as edge:
        yield edge


RUNNING: Mapping[str, Callable[..., contextlib.AbstractContextManager[Edge]]] = {
    "nginx": running_nginx,
    "varnish": running_varnish,
}


def program(name: str) -> str:
    """Where a program of Debian is; servers are not on everyone's path."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        message = f"{name} is not installed: apt-get install nginx varnish prometheus"
        raise RuntimeError(message)
    return found


def _changed(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert text.count(old) == 1, f"{old!r} stands there {text.count(old)} times"
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def _running(name: str, folder: Path, port: int, command: list[str]) -> Iterator[Edge]:
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *command], stdout=output, stderr=output)
    edge = Edge(name, port, folder, process)
    try:
        eventually(lambda: _answers(port) or process.poll() is not None, START_SECONDS)
        assert process.poll() is None, edge.log
        yield edge
    except BaseException:
        sys.stderr.write(edge.log)
        raise
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _answers(port: int) -> bool:
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/livez")
            return connection.getresponse().status == 200
        except OSError:
            return False


def _takes_requests(worker: psutil.Process) -> bool:
    """Whether a process of nginx is neither on its way out nor gone already."""
    with contextlib.suppress(psutil.NoSuchProcess):  # a zombie, too
        return "shutting down" not in " ".join(worker.cmdline())
    return False
