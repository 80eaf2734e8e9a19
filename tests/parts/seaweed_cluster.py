"""A SeaweedFS of several processes: a master, three volume servers, a filer, the S3 interface; each blob on two."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import httpx

from tests.parts.seaweed import ACCESS_KEY, SECRET_KEY, START_SECONDS, Seaweed, free_ports

REPLICATION = "001"
"""One more copy, on another server of the same rack."""
VOLUME_SERVERS = 3
_POLL_S = 0.05


@dataclass
class Member:
    """One process of the cluster, which can be killed and started again where it was."""

    name: str
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.command], stdout=log, stderr=log, cwd=self.log.parent
            )

    def stored(self) -> int:
        """Bytes in its volumes."""
        return sum(path.stat().st_size for path in self.log.with_suffix("").glob("*.dat"))

    def kill(self) -> None:
        """End it at once, as the end of a machine does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True)
class Cluster:
    """`server` is where its S3 interface answers."""

    server: Seaweed
    master: int
    volumes: list[Member]
    others: list[Member] = field(default_factory=list)

    def known_volume_servers(self) -> int:
        """How many the master counts among the living."""
        topology = httpx.get(f"http://127.0.0.1:{self.master}/dir/status", timeout=5).json()["Topology"]
        racks = [rack for center in topology["DataCenters"] or [] for rack in center["Racks"] or []]
        return sum(len(rack["DataNodes"] or []) for rack in racks)


@contextlib.contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """Start it with its data in `folder`, yield it once bytes can be stored, end it."""
    cluster = _cluster(folder)
    try:
        for member in (*cluster.others, *cluster.volumes):
            member.start()
        _await(lambda: cluster.known_volume_servers() == VOLUME_SERVERS)
        _await(lambda: httpx.get(cluster.server.url, timeout=5).status_code == HTTPStatus.FORBIDDEN)
        _await(lambda: "fid" in httpx.get(f"http://127.0.0.1:{cluster.master}/dir/assign", timeout=5).json())
        yield cluster
    finally:
        for member in (*cluster.others, *cluster.volumes):
            member.kill()
        for path in folder.glob("*.sock"):
            path.unlink(missing_ok=True)


def _cluster(folder: Path) -> Cluster:
    ports = iter(free_ports(2 * (VOLUME_SERVERS + 3)))
    master, master_grpc, filer, filer_grpc, s3, s3_grpc = (next(ports) for _ in range(6))
    where = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    rights = {"actions": ["Admin", "Read", "Write", "List"]}
    identity = {"name": "tests", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], **rights}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    known = f"127.0.0.1:{master}.{master_grpc}"
    masters = [f"-port={master}", f"-port.grpc={master_grpc}", f"-mdir={folder / 'master'}", "-telemetry=false"]
    masters += [f"-defaultReplication={REPLICATION}", "-volumeSizeLimitMB=64"]
    filers = [f"-port={filer}", f"-port.grpc={filer_grpc}", f"-master={known}", f"-defaultStoreDir={folder / 'filer'}"]
    filers += [f"-defaultReplicaPlacement={REPLICATION}", f"-localSocket={folder / 'filer.sock'}"]
    s3s = [f"-port={s3}", f"-port.grpc={s3_grpc}", f"-filer=127.0.0.1:{filer}.{filer_grpc}"]
    s3s += [f"-config={folder / 's3.json'}", f"-localSocket={folder / 's3.sock'}", "-port.iceberg=0", "-port.lance=0"]
    commands = {"master": [*masters, *where], "filer": [*filers, *where], "s3": [*s3s, "-ip.bind=127.0.0.1"]}
    others = [_member(folder, name, options) for name, options in commands.items()]
    volumes = []
    for number in range(VOLUME_SERVERS):
        name = f"volume-{number}"
        own = [f"-port={next(ports)}", f"-port.grpc={next(ports)}", f"-dir={folder / name}", f"-mserver={known}"]
        volumes.append(_member(folder, name, [*own, "-max=100", "-rack=one", *where]))
    return Cluster(Seaweed("127.0.0.1", s3), master, volumes, others)


def _member(folder: Path, name: str, options: list[str]) -> Member:
    (folder / name).mkdir()
    weed = str(Path(sys.executable).parent / "weed")
    role = name.partition("-")[0]
    return Member(name, [weed, f"-logdir={folder / name}", role, *options], folder / f"{name}.log")


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(httpx.TransportError, KeyError, ValueError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise RuntimeError("the cluster did not start")
        time.sleep(_POLL_S)
