"""Two replicas of the service as shipped on one store, and what they put on record of those who asked."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.places import Kind, opened_place
from tests.parts.caller import Caller
from tests.parts.postgres import PostgresServer
from tests.parts.seaweed import free_ports
from tests.parts.service import Refkeep, Yard, eventually, is_ready

SIGNING_KEY = "2026:c2lnbmVkIGJ5IHRoZSB0ZXN0cw=="
_SETTLE_S = 0.4
POLICIES = """
[policies."film/file"]
cardinality = "list"
visibility = "public"
public_allowed = true
media_types = ["*/*"]
presets = ["card", "thumb"]

[presets.card]
width = 48

[presets.thumb]
width = 32
height = 32
fit = "cover"
"""


@dataclass
class Replica:
    """One of them, on a port that stays its own."""

    yard: Yard
    data_dir: Path
    port: int
    settings: dict[str, Any]
    running: Refkeep | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Refkeep:
        """Start it, and wait until it is ready."""
        started = self.yard.launch("serve", "--migrate", data_dir=self.data_dir, PORT=self.port, **self.settings)
        started.port = self.port
        self.running = started
        eventually(lambda: is_ready(started) or started.process.poll() is not None)
        assert is_ready(started), started.log.read_text()
        return started

    def kill(self) -> None:
        """End the whole process group at once."""
        if self.running is not None and self.running.process.poll() is None:
            os.killpg(self.running.process.pid, signal.SIGKILL)
            self.running.process.wait()

    def stop(self) -> None:
        """Ask it to leave, and wait until it has."""
        if self.running is not None:
            self.running.stop()


@dataclass(frozen=True)
class Item:
    """What was published: its bytes, and the paths that show them."""

    content: bytes
    sha256: str
    ref_id: str

    @property
    def blob(self) -> str:
        return f"/blobs/{self.sha256}"

    @property
    def file(self) -> str:
        return f"/media/{self.ref_id}/file"


@dataclass
class Origin:
    """The replicas, a writer of one workspace and an operator."""

    replicas: list[Replica]
    writer: Caller
    operator: Caller
    _entities: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    @property
    def ports(self) -> list[int]:
        return [replica.port for replica in self.replicas]

    def publish(self, content: bytes, visibility: str = "public") -> Item:
        """Attach bytes to an entity of their own."""
        sha256, entity = self.writer.upload(content), f"film/{next(self._entities)}"
        response = self.writer.post(f"{entity}/file", sha256, visibility=visibility)
        assert response.status_code == 201, response.text
        return Item(content, sha256, response.json()["ref"]["ref_id"])

    def sign(self, item: Item, seconds: int = 60) -> str:
        """A signed address of the file, path and query."""
        response = self.writer.http.post(f"/media/{item.ref_id}/sign", json={"expires_in": seconds})
        assert response.status_code == 200, response.text
        return str(httpx.URL(response.json()["url"]).raw_path.decode())

    def await_everywhere(self, path: str, status: int) -> None:
        """Return once every replica answers a stranger so."""
        for replica in self.replicas:
            eventually(partial(_answers, f"{replica.url}{path}", status), 5)

    def hold(self, item: Item) -> None:
        """Keep the bytes from being served, and see that no replica serves them any more."""
        told = {"kind": "legal", "reason": "Order 4711"}
        assert self.operator.http.put(f"/holds/{item.sha256}", json=told).status_code in {200, 201}
        self.await_everywhere(item.blob, 451)

    def release(self, item: Item) -> None:
        """Lift the hold."""
        assert self.operator.http.delete(f"/holds/{item.sha256}").status_code == 204

    def asked_for(self, item: Item, since: float = 0) -> list[dict[str, Any]]:
        """What the replicas put on record of requests for these bytes, by hash and by ref, that began after `since`.

        A record is written when an answer is over, on S3 a moment after its last byte: read until no more come.
        """
        records = self._records(item, since)
        while True:
            time.sleep(_SETTLE_S)
            if (later := self._records(item, since)) == records:
                return records
            records = later

    def _records(self, item: Item, since: float) -> list[dict[str, Any]]:
        logs = {replica.running.log for replica in self.replicas if replica.running is not None}
        lines = [line for log in sorted(logs) for line in log.read_text().splitlines()]
        records = [json.loads(line) for line in lines if item.sha256 in line or item.ref_id in line]
        ours = [each for each in records if each["operation"] == "media.file.download" and each["layer"] == "handler"]
        return [each for each in ours if _began(each) >= since]


def _began(record: dict[str, Any]) -> float:
    """When a request came, in seconds since 1970."""
    return datetime.fromisoformat(record["timestamp"]).timestamp() - float(record["duration_ms"]) / 1000


def _answers(url: str, status: int) -> bool:
    return httpx.get(url).status_code == status


@contextlib.contextmanager
def running_origin(kind: Kind, postgres: PostgresServer, folder: Path) -> Iterator[Origin]:
    """Two replicas with a database of their own, on an empty store."""
    (folder / "policies.toml").write_text(POLICIES)
    yard = Yard(folder, postgres)
    with opened_place(kind, folder) as place, postgres.database() as database_url, contextlib.ExitStack() as stack:
        settings = {
            **place.settings,
            "DATABASE_URL": database_url,
            "SIGNING_KEYS": SIGNING_KEY,
            "POLICIES": folder / "policies.toml",
        }
        replicas = [
            Replica(yard, place.shared or folder / f"replica-{number}", port, settings)
            for number, port in enumerate(free_ports(2))
        ]
        for replica in replicas:
            replica.data_dir.mkdir(exist_ok=True)
            stack.callback(replica.stop)
            replica.start()
        first = replicas[0].running
        assert first is not None
        stack.callback(first.stop)  # which closes its callers, whoever runs on its port by then
        yield Origin(replicas, first.caller("read", "write"), first.bearer(first.key(None, "read", "operator")))
