"""A service whose requests can be made to fail at any step, and the requests to try that on."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import asyncpg
import httpx
import msgspec

from tests.parts.audit import audit
from tests.parts.blobs import files_under
from tests.parts.caller import Caller, sha256_of
from tests.parts.failpoints import Course, Fault, Kind
from tests.parts.fresh import fresh_jpeg
from tests.parts.seaweed import free_ports
from tests.parts.service import PATIENCE_S, Refkeep, environment, eventually

ROOT = Path(__file__).parents[2]
LONG_AGO_S = 3600
_BUSY = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"""
_numbers = count(1)
_last_folders: deque[str] = deque(maxlen=200)


@dataclass(frozen=True)
class Request:
    """An HTTP request that may be sent again, byte for byte."""

    method: str
    path: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """A request and what its caller may see of it.

    `happened` looks and says whether the whole effect is there, and fails for anything between that and none;
    `decision` is what the same request meets after it happened, or before.
    """

    caller: Caller
    request: Request
    happened: Callable[[], bool]
    decision: Callable[[bool], str]


Setting = Callable[["Stage"], Scene]
"""Makes a scene that nobody has played."""


class Stage:
    """The service on a folder of its own, as several replicas, with two workspaces.

    Whatever is asked goes to one replica; when it dies, to the next, while the dead one starts again.
    """

    def __init__(self, service: Refkeep, ports: Sequence[int]) -> None:
        self._service = service
        self._ports = deque(ports)
        self.blobs = service.data_dir / "blobs"
        self.acme, self.globex = self._caller(), self._caller()

    def perform(self, scene: Scene, fault: Fault = Fault()) -> tuple[httpx.Response | None, Course]:  # noqa: B008 - frozen
        """Send the request; the answer, None when none came, and the course that the service took."""
        record = self._service.data_dir / f"course-{next(_numbers)}"
        answer = self.send(scene, {"fault": str(fault), "record": record.name})
        eventually(record.exists)
        course = msgspec.json.decode(record.read_bytes(), type=Course)
        if course.died:
            self._turn_to_the_next()
        eventually(self.is_ready)
        eventually(self._is_quiet)
        return answer, course

    def renew(self) -> None:
        """Begin a new life of the replica, which remembers nothing."""
        self.send(upload(self), {"fault": str(Fault(Kind.KILL, 1)), "record": f"course-{next(_numbers)}"})
        eventually(self.is_ready)

    def is_ready(self) -> bool:
        """Whether the replica answers, with everything it needs."""
        try:
            return self.acme.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def send(self, scene: Scene, headers: Mapping[str, str] | None = None) -> httpx.Response | None:
        """Send the request; None when no answer came."""
        request = scene.request
        try:
            return scene.caller.http.request(
                request.method, request.path, content=request.content, headers={**request.headers, **(headers or {})}
            )
        except httpx.TransportError:
            return None

    def findings(self) -> list[str]:
        """What is wrong in tables, log and folder."""
        assert self._service.database_url is not None
        return audit(self._service.database_url, self.blobs / "objects")

    def staged(self) -> set[str]:
        """What is left of uploads that never ended."""
        return files_under(self.blobs / "staging")

    def age_staged(self) -> None:
        """Let what is staged look as if nobody had touched it for long."""
        long_ago = time.time() - LONG_AGO_S
        for name in self.staged():
            os.utime(self.blobs / "staging" / name, (long_ago, long_ago))

    def _is_quiet(self) -> bool:
        """Whether no transaction runs: a statement may outlive the process that sent it.

        A killed database may still answer the service for a moment, before it recovers.
        """
        try:
            return bool(self._service.sql(_BUSY)[0]["count"] == 0)
        except asyncpg.CannotConnectNowError:
            return False

    def _turn_to_the_next(self) -> None:
        self._ports.rotate(-1)
        for caller in (self.acme, self.globex):
            caller.http.base_url = self._url

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._ports[0]}"

    def _caller(self) -> Caller:
        workspace = self._service.workspace()
        token = self._service.key(workspace, "read", "write")
        # No connection outlives its request: the next one may meet another life of the service.
        limits = httpx.Limits(max_keepalive_connections=0)
        headers = {"authorization": f"Bearer {token}"}
        http = httpx.Client(base_url=self._url, headers=headers, timeout=PATIENCE_S, verify=False, limits=limits)
        return Caller(http, workspace, token)


@contextlib.contextmanager
def running_stage(folder: Path, database_url: str, replicas: int = 1) -> Iterator[Stage]:
    """A stage on an empty, migrated database."""
    ports = free_ports(replicas)
    data, log = folder / "data", folder / "log"
    settings = environment(DATA_DIR=data, DRAIN=0, LOG_FORMAT="json")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.crash_app", database_url, *map(str, ports)],
            env=settings,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    service = Refkeep(process, ports[0], data, database_url, log)
    try:
        stage = Stage(service, ports)
        eventually(lambda: process.poll() is not None or stage.is_ready())
        assert process.poll() is None, "the service ended at its start"
        yield stage
        for caller in (stage.acme, stage.globex):
            caller.http.close()
    except BaseException:
        sys.stderr.write(log.read_text(errors="replace"))
        raise
    finally:
        service.stop()


def upload(stage: Stage) -> Scene:
    """New bytes under their name."""
    return _putting(stage.acme, new_picture())


def upload_of_known_bytes(stage: Stage) -> Scene:
    """Bytes that another workspace has sent: a spare object comes and goes."""
    content = new_picture()
    stage.globex.upload(content)
    return _putting(stage.acme, content)


def duplicate(stage: Stage) -> Scene:
    """POST of bytes that the workspace holds."""
    content = new_picture()
    stage.acme.upload(content)
    request = Request("POST", "/blobs", content)
    return Scene(stage.acme, request, lambda: _holds(stage.acme, content), lambda _: "duplicate")


def replacement(stage: Stage) -> Scene:
    """A new cover for a book that has one, with a key that makes it one request however often it is sent."""
    number, old, new = next(_numbers), new_picture(), new_picture()
    slot = f"book/{number}/cover/0"
    assert stage.acme.put(slot, old).status_code == 201
    request = Request("PUT", f"/refs/{slot}", new, {"idempotency-key": f'"cover-{number}"'})
    return Scene(stage.acme, request, lambda: _shows(stage.acme, f"book/{number}", old, new), lambda _: "replace")


def new_picture() -> bytes:
    """A JPEG that nobody has sent, in none of the last folders: a process that began since has yet to make its own."""
    while True:
        picture = fresh_jpeg()
        folder = sha256_of(picture)[:2]
        if folder not in _last_folders:
            _last_folders.append(folder)
            return picture


def _putting(caller: Caller, content: bytes) -> Scene:
    request = Request("PUT", f"/blobs/{sha256_of(content)}", content)
    return Scene(caller, request, lambda: _holds(caller, content), lambda held: "duplicate" if held else "insert")


def _holds(caller: Caller, content: bytes) -> bool:
    """Whether the workspace holds the bytes; if so they are whole."""
    answer = caller.http.get(f"/blobs/{sha256_of(content)}")
    assert answer.status_code in {200, 404}
    assert answer.status_code == 404 or answer.content == content
    return answer.status_code == 200


def _shows(caller: Caller, entity: str, old: bytes, new: bytes) -> bool:
    """Whether the new picture is the cover; the old one is until then, and whichever it is, it is whole."""
    [ref] = caller.refs(entity)
    shown = {sha256_of(old): old, sha256_of(new): new}[ref["blob"]["sha256"]]
    assert caller.http.get(ref["links"]["file"]).content == shown
    assert caller.http.get(f"/blobs/{sha256_of(old)}").content == old
    return shown == new
