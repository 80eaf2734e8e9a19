"""deploy/compose.yaml: the command lines of its services, run as they stand there, on names that lead to this machine.

Postgres and SeaweedFS are the tests' own binaries in place of their images; collector, Jaeger and Grafana are none of
ours and not run here. What compose itself would do is done by hand: order, secrets, volumes.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.adapters.postgres.embedded_account import Account, account_for, installation_for
from tests.parts.image import ROOT, Container, Engine
from tests.parts.service import eventually

pytestmark = pytest.mark.timeout(1800)  # an image is built, on a busy machine, too
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
POSTGRES = installation_for(Account(os.geteuid(), os.getegid(), switches=False), ROOT) / "bin"
PATH = f"{Path(sys.executable).parent}:{POSTGRES}:{os.environ['PATH']}"
PHOTO = b"\x89PNG is what this is not: a text, of any kind"
UPLOAD = """
import json, sys, urllib.request as r
key, content = sys.argv[1], bytes.fromhex(sys.argv[2])
bearer = {"authorization": f"Bearer {key}", "content-type": "application/octet-stream"}
url = "http://refkeep:8080"
ref = json.load(r.urlopen(r.Request(f"{url}/refs/document/1/file", content, bearer, method="POST")))["ref"]
asked = r.Request(f"{url}/media/{ref['ref_id']}/file", headers=bearer)
print(json.dumps({"sha256": ref["blob"]["sha256"], "same": r.urlopen(asked).read() == content}))
"""


@dataclass(frozen=True)
class Beside:
    """Runs commands of this machine in the containers' network, where they meet the same names."""

    engine: Engine
    folder: Path
    secrets: Path

    def words(self, command: Sequence[str]) -> list[str]:
        """A command of compose.yaml with this machine's folders in place of a container's."""
        mine = {"/run/secrets": str(self.secrets), "-dir=/data": f"-dir={self.folder}/weed"}
        words = list(command)
        for there, here in mine.items():
            words = [word.replace(there, here) for word in words]
        hosts = f'mount --bind "{self.engine.mounts["/etc/hosts"]}" /etc/hosts && exec "$@"'
        network = ["nsenter", f"--net=/proc/{self.engine.network}/ns/net", "unshare", "--mount"]
        return ["setpriv", "--pdeathsig=KILL", *network, "sh", "-c", hosts, "sh", *words]

    def run(self, command: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **variables, "PATH": PATH}
        return subprocess.run(
            self.words(command), env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def is_healthy(self, service: str) -> bool:
        """Whether the service's own health check says so."""
        kind, *command = SERVICES[service]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(command).returncode == 0

    @contextmanager
    def running(self, name: str, command: Sequence[str]) -> Iterator[None]:
        environment = {"PATH": PATH}
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(self.words(command), env=environment, stdout=log, stderr=log)
        try:
            eventually(lambda: process.poll() is not None or self.is_healthy(name), 90)
            assert process.poll() is None, (self.folder / f"{name}.log").read_text()[-3000:]
            yield
        finally:
            process.kill()
            process.wait()


def postgres_command(folder: Path, secrets: Path) -> list[str]:
    """The command of compose.yaml on a cluster that its variables describe, as the image's entry point makes one."""
    environment, account = SERVICES["postgres"]["environment"], account_for(folder / "cluster")
    (folder / "cluster").mkdir(mode=0o700)
    os.chown(folder / "cluster", account.uid, account.gid)
    password = folder / "password"
    password.write_text((secrets / "postgres_password").read_text())
    os.chown(password, account.uid, account.gid)
    made = [str(POSTGRES / "initdb"), f"--pgdata={folder / 'cluster'}", f"--pwfile={password}", "--auth-local=trust"]
    made += [f"--username={environment['POSTGRES_USER']}", *environment["POSTGRES_INITDB_ARGS"].split()]
    subprocess.run(account.command(*made), check=True, capture_output=True, cwd="/")
    single = [str(POSTGRES / "postgres"), "--single", "-D", str(folder / "cluster"), "postgres"]
    create = f"CREATE DATABASE {environment['POSTGRES_DB']}\n"
    subprocess.run(account.command(*single), input=create, text=True, check=True, capture_output=True, cwd="/")
    with (folder / "cluster/pg_hba.conf").open("a") as hba:
        hba.write("host all all all scram-sha-256\n")
    program, *options = SERVICES["postgres"]["command"]
    assert program == "postgres"
    place = [
        "-D",
        str(folder / "cluster"),
        "-c",
        "listen_addresses=*",
        "-c",
        f"unix_socket_directories={folder / 'cluster'}",
    ]
    return account.command(str(POSTGRES / "postgres"), *options, *place)


@pytest.fixture(scope="module")
def beside(engine: Engine, secrets: Path) -> Iterator[Beside]:
    with tempfile.TemporaryDirectory(prefix="refkeep-compose-") as folder:  # Postgres's user must reach it
        Path(folder).chmod(0o755)
        (Path(folder) / "weed").mkdir()
        yield Beside(engine, Path(folder), secrets)


@pytest.fixture(scope="module")
def ground(beside: Beside) -> Iterator[None]:
    """Postgres and SeaweedFS, healthy by compose's own checks; the bucket made by compose's own command."""
    # Containers have a network each, these have one together: the volume server must not be where Refkeep listens.
    seaweed = [str(Path(sys.executable).parent / "weed"), *SERVICES["seaweedfs"]["command"], "-volume.port=18080"]
    bucket = [word.replace("$$", "$") for word in SERVICES["bucket"]["entrypoint"]]
    with (
        beside.running("postgres", postgres_command(beside.folder, beside.secrets)),
        beside.running("seaweedfs", seaweed),
    ):
        for _ in range(2):
            made = beside.run(bucket, **SERVICES["bucket"]["environment"])
            assert made.returncode == 0, made.stderr
        yield


def start(engine: Engine, service: str) -> Container:
    """A service of ours, with what compose.yaml says of it."""
    said = SERVICES[service]
    environment = {name: text.split(":-")[-1].rstrip("}") for name, text in said["environment"].items()}
    assert {f"/run/secrets/{name}" for name in said["secrets"]} <= engine.mounts.keys()
    assert said["read_only"]
    return engine.start(service, said["command"], **environment)


def command(engine: Engine, *words: str) -> str:
    """What `docker compose exec refkeep refkeep …` prints."""
    done = engine.run(*engine.stage.lists["ENTRYPOINT"], *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_migrate_then_serve_is_healthy_takes_bytes_and_leaves_in_order(
    engine: Engine, beside: Beside, ground: None
) -> None:
    assert SERVICES["refkeep"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    for _ in range(2):
        with start(engine, "migrate") as migrate:
            assert migrate.process.wait(60) == 0, migrate.said()
    with start(engine, "refkeep") as serving:
        _, *ready = SERVICES["refkeep"]["healthcheck"]["test"]
        eventually(lambda: serving.process.poll() is not None or engine.run(*ready).returncode == 0)
        assert serving.process.poll() is None, serving.said()
        assert engine.run(*engine.stage.lists["HEALTHCHECK"]).returncode == 0
        assert take_and_give(engine) == {"sha256": hashlib.sha256(PHOTO).hexdigest(), "same": True}

        grace = int(SERVICES["refkeep"]["stop_grace_period"].removesuffix("s"))
        assert serving.stop(signal.Signals[engine.stage.stop_signal], grace) == 0, serving.said()
        assert engine.run(*ready).returncode != 0
        assert [secret.name for secret in beside.secrets.iterdir() if secret.read_text() in serving.said()] == []


def take_and_give(engine: Engine) -> object:
    """What becomes of bytes that a caller with a new key sends and reads again."""
    command(engine, "workspaces", "create", "acme")
    key = command(
        engine, "keys", "create", "--name", "e2e", "--workspace", "acme", "--scope", "read", "--scope", "write"
    )
    told = engine.run("python", "-c", UPLOAD, key, PHOTO.hex())
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)
