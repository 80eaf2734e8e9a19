"""The reference services of tests/consumers as processes of their own, in front of a Refkeep behind a relay."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import asyncpg
from anyio.from_thread import start_blocking_portal

from tests.parts.caller import Caller
from tests.parts.relay import Relay, running_relay
from tests.parts.seaweed import free_ports
from tests.parts.service import PATIENCE_S, eventually, fetch

Shelves = dict[tuple[str, str], tuple[int, list[str]]]
"""By entity type and id: its version, and the ids of its live refs in order."""

_RESET_PEAK = "5"  # proc_pid_clear_refs(5)
_ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def relay_before(port: int) -> Iterator[Relay]:
    """A relay to that port, in a thread; it stays where it is while what is behind it comes and goes."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(running_relay(("127.0.0.1", port))) as relay,
    ):
        yield relay


@dataclass
class Consumer:
    """One of the services: `name` is its module and its schema. It can be killed and started again, on its port."""

    name: str
    database_url: str
    refkeep_url: str
    key: str
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=lambda: free_ports(1)[0])
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """All that it said."""
        return self.folder / f"{self.name}-{self.port}.log"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        given = {
            "DATABASE_URL": self.database_url,
            "PORT": str(self.port),
            "REFKEEP_ADDRESS": self.refkeep_url,
            "REFKEEP_ACCESS_KEY": self.key,
        }
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("REFKEEP_", "OTEL_"))}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", f"tests.consumers.{self.name}"],
                env={**kept, **given, **self.settings},
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        eventually(lambda: self._answers() or self._has_ended())
        assert not self._has_ended(), self.log.read_text()

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        """Ask it to leave; its exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.kill()

    def restart_memory_watch(self) -> Callable[[], int]:
        """A function that says by how many bytes the process has outgrown its size of now."""
        assert self.process is not None
        proc = Path(f"/proc/{self.process.pid}")
        (proc / "clear_refs").write_text(_RESET_PEAK)
        before = _status(proc, "VmRSS")
        return lambda: _status(proc, "VmHWM") - before

    def sql(self, query: str, *parameters: object) -> list[asyncpg.Record]:
        """What its tables say, behind its back; they stand in the schema of its name."""
        return asyncio.run(fetch(self.database_url, query, *parameters))

    def projected(self) -> Shelves:
        """What the projection has of entities that show anything."""
        rows = self.sql(f"SELECT entity_type, entity_id, version, refs FROM {self.name}.projection WHERE refs <> '[]'")
        return {
            (row["entity_type"], row["entity_id"]): (row["version"], [ref["ref_id"] for ref in json.loads(row["refs"])])
            for row in rows
        }

    def _answers(self) -> bool:
        with contextlib.closing(HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection:
            try:
                connection.request("GET", "/health")
                return connection.getresponse().status == HTTPStatus.OK
            except OSError:
                return False

    def _has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None


@contextlib.contextmanager
def running_consumer(consumer: Consumer) -> Iterator[Consumer]:
    """Started before the block, gone after it; its log is shown when that fails."""
    try:
        consumer.start()
        yield consumer
    except BaseException:
        sys.stderr.write(consumer.log.read_text(errors="replace"))
        raise
    finally:
        consumer.kill()


def _status(proc: Path, name: str) -> int:
    lines = (proc / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def listed(caller: Caller, *entity_types: str) -> Shelves:
    """What Refkeep itself lists of the workspace, in the order of roles and positions."""
    found: dict[tuple[str, str], list[tuple[str, int, str]]] = {}
    for ref in _pages(caller):
        if ref["entity_type"] in entity_types:
            place = ref["role"], ref["position"], ref["ref_id"]
            found.setdefault((ref["entity_type"], ref["entity_id"]), []).append(place)
    return {
        entity: (int(caller.version("/".join(entity)).strip('"')), [ref_id for _, _, ref_id in sorted(places)])
        for entity, places in found.items()
    }


def _pages(caller: Caller) -> Iterator[dict[str, Any]]:
    cursor: str | None = ""
    while cursor is not None:
        query = {"state": "live", "limit": "500", **({"cursor": cursor} if cursor else {})}
        page = caller.http.get("/media", params=query).json()
        yield from page["items"]
        cursor = page["next"]
