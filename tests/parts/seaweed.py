"""A real SeaweedFS with its S3 interface, on free loopback ports, for as long as the tests run."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

ACCESS_KEY, SECRET_KEY = "refkeep-tests", "a-secret-of-the-tests"
READER_KEY, READER_SECRET = "refkeep-reader", "of-one-who-may-read"
START_SECONDS = 60.0
_ROLES = ("master", "volume", "filer", "s3")


@dataclass(frozen=True)
class Seaweed:
    """Where the server answers."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody uses at the moment, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def running_seaweed(folder: Path, *, anonymous: bool = False) -> Iterator[Seaweed]:
    """Start a server with its data in `folder`, yield it once it answers, stop it. `anonymous`: for everybody.

    Ports that were free a moment ago may be another's by now: a server that ends at its start is started on others.
    """
    for last in (False, False, True):
        with contextlib.ExitStack() as stack:
            try:
                server = stack.enter_context(_started(folder, anonymous=anonymous))
            except ChildProcessError:
                if last:
                    raise
                continue
            yield server
            return


@contextlib.contextmanager
def _started(folder: Path, *, anonymous: bool) -> Iterator[Seaweed]:
    ports = free_ports(2 * len(_ROLES))
    http, grpc = dict(zip(_ROLES, ports, strict=False)), dict(zip(_ROLES, ports[len(_ROLES) :], strict=True))
    with (folder / "weed.log").open("ab") as log:
        server = subprocess.Popen(_command(folder, http, grpc, anonymous=anonymous), stdout=log, stderr=log)
    try:
        welcome = HTTPStatus.OK if anonymous else HTTPStatus.FORBIDDEN
        _wait_for(server, http["s3"], "/", lambda status: status == welcome)
        _wait_for(server, http["master"], "/dir/assign", lambda status: status == HTTPStatus.OK)
        yield Seaweed("127.0.0.1", http["s3"])
    finally:
        server.kill()  # it takes ten seconds to say goodbye, and its data is thrown away
        server.wait()
        for role, port in grpc.items():
            Path(f"/tmp/seaweedfs-{role}-grpc-{port}.sock").unlink(missing_ok=True)


def _command(folder: Path, http: dict[str, int], grpc: dict[str, int], *, anonymous: bool) -> list[str]:
    rights = {"actions": ["Admin", "Read", "Write", "List"]}
    identities = [{"name": "tests", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], **rights}]
    reader = [{"accessKey": READER_KEY, "secretKey": READER_SECRET}]
    identities.append({"name": "reader", "credentials": reader, "actions": ["Read", "List"]})
    if anonymous:
        identities.append({"name": "anonymous", **rights})
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    (folder / "data").mkdir(exist_ok=True)
    return [
        *("setpriv", "--pdeathsig", "KILL"),  # a killed test run leaves no server behind
        str(Path(sys.executable).parent / "weed"),
        f"-logdir={folder}",
        "server",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *(f"-{role}.port={port}" for role, port in http.items()),
        *(f"-{role}.port.grpc={port}" for role, port in grpc.items()),
        f"-filer.localSocket={folder / 'filer.sock'}",
        "-s3",
        f"-s3.config={folder / 's3.json'}",
        f"-s3.localSocket={folder / 's3.sock'}",
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=256",
        "-volume.max=100",
    ]


def _wait_for(server: subprocess.Popen[bytes], port: int, path: str, is_ready: Callable[[int], bool]) -> None:
    """Wait until the S3 interface knows its users, and until a volume takes bytes: it answers before either."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            if is_ready(answer.status):
                return
        time.sleep(0.05)
    if server.poll() is not None:
        raise ChildProcessError("SeaweedFS ended at its start")
    raise RuntimeError("SeaweedFS did not start")
