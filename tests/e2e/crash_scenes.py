"""A service whose requests can be made to fail at any step, and the requests to try that on."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx
import msgspec

from tests import samples
from tests.parts.audit import audit
from tests.parts.blobs import files_under
from tests.parts.caller import Caller, sha256_of
from tests.parts.failpoints import Course, Fault
from tests.parts.seaweed import free_ports
from tests.parts.service import PATIENCE_S, Refkeep, answers, environment, eventually

ROOT = Path(__file__).parents[2]
LONG_AGO_S = 3600
_BUSY = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"""
_numbers = count(1)


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
    """The service on a folder of its own, with two workspaces."""

    def __init__(self, service: Refkeep) -> None:
        self._service = service
        self._proven: set[str] = set()
        self.blobs = service.data_dir / "blobs"
        self.acme, self.globex = self._caller(), self._caller()

    def perform(self, scene: Scene, fault: Fault = Fault()) -> tuple[httpx.Response | None, Course]:  # noqa: B008 - frozen
        """Send the request; the answer, None when none came, and the course that the service took."""
        record = self._service.data_dir / f"course-{next(_numbers)}"
        answer = self.send(scene, {"fault": str(fault), "record": record.name})
        eventually(record.exists)
        course = msgspec.json.decode(record.read_bytes(), type=Course)
        eventually(lambda: answers(self._service))
        eventually(self._is_quiet)
        return answer, course

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
        """What is wrong; bytes that were right once are not read again."""
        found = audit(self._dsn, self.blobs / "objects", known_good=frozenset(self._proven))
        if not found:
            self._proven |= {row["sha256"].hex() for row in self._service.sql("SELECT sha256 FROM blobs")}
        return found

    def findings_of_all(self) -> list[str]:
        """What is wrong; every byte is read."""
        return audit(self._dsn, self.blobs / "objects")

    def staged(self) -> set[str]:
        """What is left of uploads that never ended."""
        return files_under(self.blobs / "staging")

    def age_staged(self) -> None:
        """Let what is staged look as if nobody had touched it for long."""
        long_ago = time.time() - LONG_AGO_S
        for name in self.staged():
            os.utime(self.blobs / "staging" / name, (long_ago, long_ago))

    def events(self, caller: Caller, **wanted: str) -> int:
        """How many events of the workspace fit."""
        return len(caller.events(**wanted))

    @property
    def _dsn(self) -> str:
        assert self._service.database_url is not None
        return self._service.database_url

    def _is_quiet(self) -> bool:
        """Whether no transaction runs: a statement may outlive the process that sent it."""
        return bool(self._service.sql(_BUSY)[0]["count"] == 0)

    def _caller(self) -> Caller:
        workspace = self._service.workspace()
        token = self._service.key(workspace, "read", "write")
        # No connection outlives its request: the next one may meet another life of the service.
        limits = httpx.Limits(max_keepalive_connections=0)
        headers = {"authorization": f"Bearer {token}"}
        http = httpx.Client(base_url=self._service.url, headers=headers, timeout=PATIENCE_S, verify=False, limits=limits)
        return Caller(http, workspace, token)


@contextlib.contextmanager
def running_stage(folder: Path, database_url: str) -> Iterator[Stage]:
    """A stage on an empty, migrated database."""
    [port] = free_ports(1)
    data, log = folder / "data", folder / "log"
    settings = environment(DATA_DIR=data, PORT=port, DRAIN=0, LOG_FORMAT="json")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.crash_app", database_url],
            env=settings,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    service = Refkeep(process, port, data, database_url, log)
    try:
        eventually(lambda: process.poll() is not None or answers(service))
        stage = Stage(service)
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
    """A new cover for a book that has one, with a key that makes it one and the same request however often it is sent."""
    number, old, new = next(_numbers), new_picture(), new_picture()
    slot = f"book/{number}/cover/0"
    assert stage.acme.put(slot, old).status_code == 201
    request = Request("PUT", f"/refs/{slot}", new, {"idempotency-key": f'"cover-{number}"'})
    return Scene(stage.acme, request, lambda: _shows(stage.acme, f"book/{number}", old, new), lambda _: "replace")


def new_picture() -> bytes:
    """A JPEG that nobody has sent, of another hash at every call but of the same ones in every run."""
    picture, remark = samples.jpeg(), next(_numbers).to_bytes(8, "big")
    return picture[:2] + b"\xff\xfe" + struct.pack(">H", len(remark) + 2) + remark + picture[2:]


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
