"""Everything that a dashboard or an alert could show: what callers do, what they do wrong, and what breaks beneath."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import uuid4

import httpx

from service.adapters.postgres.locks import lock_of
from service.adapters.s3.client import S3Config, connect
from tests.parts.buckets import physical_keys
from tests.parts.cable import Cable
from tests.parts.caller import Caller, sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.postgres import session
from tests.parts.service import Refkeep, eventually
from tests.parts.wire import bearer, connected, head

MIB = 1024 * 1024
POOL_SIZE = 2
WORKERS = 2
_FAILED_ROUND = re.compile(r'duration_seconds_count\{operation="gc.collect",outcome="error"')


@dataclass(frozen=True)
class Stage:
    """Two services: `cloud` has two workers and a bucket behind `cable`, `cramped` a disk of 4 MiB."""

    cloud: Refkeep
    writer: Caller
    operator: Caller
    cable: Cable
    bucket: S3Config
    cramped: Caller

    @property
    def http(self) -> httpx.Client:
        return self.writer.http


def play(stage: Stage) -> None:
    """One round of it all."""
    for scene in _SCENES:
        scene(stage)


def deliver(stage: Stage) -> None:
    """Pictures that are shown, known already, asked for in parts, unknown, and left before their end."""
    path = _published(stage.writer)
    answers = [stage.http.get(path) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    stage.http.get(path, headers={"if-none-match": answers[0].headers["etag"]})
    stage.http.get(path, headers={"range": "bytes=0-9"})
    stage.http.get(f"/blobs/{'ab' * 32}")
    large = fresh_text(12 * MIB)
    assert stage.writer.post(f"document/{uuid4()}/file", large).status_code == 201
    with connected(stage.cloud.port) as wire:
        wire.send(head("GET", f"/blobs/{sha256_of(large)}", bearer(stage.writer.token)))
        wire.socket.recv(1000)
        wire.reset()


def upload(stage: Stage) -> None:
    """Bytes that are new, that are there already, and that nothing will ever refer to."""
    content = fresh_text()
    for _ in range(2):
        assert stage.http.post("/blobs", content=content).status_code in {200, 201}
    stage.http.post("/blobs/missing", json={"sha256": [sha256_of(content), "ab" * 32]})
    stage.http.get(f"/blobs/{sha256_of(content)}/meta")


def change(stage: Stage) -> None:
    """Refs that are put, appended, attached, released, arranged, read, restored and purged."""
    document, writer = f"document/{uuid4()}", stage.writer
    refs = [writer.post(f"{document}/file", fresh_text()).json()["ref"] for _ in range(3)]
    writer.post(f"{document}/file", sha256_of(fresh_text()))
    writer.put(f"book/{uuid4()}/cover/0", writer.upload(fresh_jpeg()))
    order = {"ref_ids": [ref["ref_id"] for ref in reversed(refs)]}
    stage.http.put(f"/refs/{document}/file/order", json=order, headers={"if-match": writer.version(document)})
    stage.http.post("/refs/batch", json={"operations": [{"op": "release", "ref_id": refs[2]["ref_id"]}]})
    for verb in ("GET", "PATCH", "DELETE"):
        stage.http.request(verb, f"/media/{refs[0]['ref_id']}", json={"alt": "Other"} if verb == "PATCH" else None)
    stage.http.post(f"/media/{refs[0]['ref_id']}/restore")
    stage.http.delete(f"/media/{refs[1]['ref_id']}")
    stage.http.post(f"/media/{refs[1]['ref_id']}/purge")
    stage.http.get("/media")
    writer.refs(document)
    stage.http.delete(f"/refs/{document}/file")


def refuse(stage: Stage) -> None:
    """What rules forbid: the type, the role, an old version, more than the quota."""
    book = f"book/{uuid4()}"
    stage.writer.put(f"{book}/cover/0", fresh_text())
    stage.writer.put(f"{book}/nothing/0", fresh_text())
    stage.writer.put(f"{book}/cover/0", fresh_jpeg(), headers={"if-match": '"77"'})
    poor = stage.cloud.caller("read", "write")
    limit = {"max_bytes": 10, "max_items": None}
    assert stage.operator.http.put(f"/workspaces/{poor.workspace}", json=limit).status_code == 200
    assert poor.http.post("/blobs", content=fresh_text()).json()["code"] == "quota-exceeded"


def hold(stage: Stage) -> None:
    """Bytes on hold, asked for all the same."""
    path = _published(stage.writer)
    order = f"/holds/{path.removeprefix('/blobs/')}"
    assert stage.operator.http.put(order, json={"kind": "legal", "reason": "Order 4711"}).status_code == 201
    eventually(lambda: httpx.get(f"{stage.cloud.url}{path}").status_code == 451)
    stage.operator.http.get(order)
    stage.operator.http.delete(order)


def follow(stage: Stage) -> None:
    """The feed: a page, a wait, a stream and a snapshot."""
    page = stage.http.get("/events").json()
    stage.http.get("/events", params={"after": page["next"], "wait": 1, "decision": "purge"})
    with stage.http.stream("GET", "/events", headers={"accept": "text/event-stream"}) as stream:
        next(stream.iter_lines())
    stage.http.get("/snapshot")
    stage.http.get("/events", params={"after": "x"})


def lose(stage: Stage) -> None:
    """An object goes behind the service's back."""
    content = fresh_jpeg()
    assert stage.writer.put(f"book/{uuid4()}/cover/0", content).status_code == 201
    asyncio.run(_remove(stage.bucket, sha256_of(content)))
    assert stage.http.get(f"/blobs/{sha256_of(content)}").json()["code"] == "blob-missing"


def cut_off(stage: Stage) -> None:
    """The store cannot be reached, by callers or by the collector."""
    path = _published(stage.writer)
    stage.cable.cut()
    try:
        assert stage.http.get(path).status_code == 503
        assert stage.http.post("/blobs", content=fresh_text()).status_code == 503
        eventually(lambda: _collecting_failed(stage.cloud))
    finally:
        stage.cable.mend()


def crowd(stage: Stage) -> None:
    """Every connection to the database waits for one lock, until it is given up; others wait for a connection."""
    asyncio.run(_locked(stage))


def fill(stage: Stage) -> None:
    """More than fits."""
    assert stage.cramped.http.post("/blobs", content=fresh_text(8 * MIB)).json()["code"] == "storage-full"


_SCENES: tuple[Callable[[Stage], None], ...] = (
    deliver, upload, change, refuse, hold, follow, lose, cut_off, crowd, fill,
)  # fmt: skip


def _published(writer: Caller) -> str:
    content = fresh_jpeg()
    assert writer.put(f"book/{uuid4()}/cover/0", content).status_code == 201
    return f"/blobs/{sha256_of(content)}"


async def _remove(bucket: S3Config, sha256: str) -> None:
    [key] = [key for key in await physical_keys(bucket) if sha256 in key]
    async with connect(bucket) as client:
        await client.delete_object(Bucket=bucket.bucket, Key=key)


def _collecting_failed(service: Refkeep) -> bool:
    return _FAILED_ROUND.search(httpx.get(f"{service.url}/metrics").text) is not None


async def _locked(stage: Stage) -> None:
    body = json.dumps({"sha256": "ab" * 32})

    def ask(_: int) -> int:
        with contextlib.closing(httpx.Client(base_url=stage.cloud.url, timeout=30)) as http:
            key = {"authorization": f"Bearer {stage.writer.token}", "content-type": "application/json"}
            return http.put("/refs/book/locked/cover/0", content=body, headers=key).status_code

    async with session(str(stage.cloud.database_url)) as other:
        await other.execute("BEGIN")
        await other.execute(
            f"SELECT pg_advisory_xact_lock({lock_of('entity', stage.writer.workspace, 'book', 'locked')})"
        )
        with ThreadPoolExecutor(4 * POOL_SIZE * WORKERS) as crowded:
            asked = [asyncio.wrap_future(crowded.submit(ask, number)) for number in range(4 * POOL_SIZE * WORKERS)]
            assert {*await asyncio.gather(*asked)} == {503}
        await other.execute("ROLLBACK")
