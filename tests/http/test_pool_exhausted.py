"""Every connection of the pool waits for somebody's lock: whoever comes then is told to come again, in time."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from service.adapters.postgres.locks import lock_of
from tests.parts.caller import Caller, sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.postgres import lock_waiters, session
from tests.parts.service import Refkeep, Yard
from tests.parts.wire import Heard, bearer, head, overhear

POOL_SIZE = 2
LONGEST_S = 2.5
SERVICE = Path(__file__).parents[2] / "service"
CONTENT = fresh_text()
JSON: dict[str, object] = {"Content-Type": "application/json"}
REQUESTS: dict[str, tuple[str, str, dict[str, object], bytes]] = {
    "public bytes": ("GET", "/blobs/{public}", {}, b""),
    "bytes of a ref": ("GET", "/media/{ref}/file", {}, b""),
    "range": ("GET", "/blobs/{public}", {"Range": "bytes=0-9"}, b""),
    "bytes for a key": ("GET", "/blobs/{held}", {}, b""),
    "upload": ("PUT", f"/blobs/{sha256_of(CONTENT)}", {}, CONTENT),
    "upload without a name": ("POST", "/blobs", {}, CONTENT),
    "attach": ("PUT", "/refs/book/other/cover/0", JSON, b'{"sha256":"{public}"}'),
    "release": ("DELETE", "/refs/book/other/cover/0", {}, b""),
    "meta": ("GET", "/blobs/{held}/meta", {}, b""),
    "list": ("GET", "/media", {}, b""),
    "events": ("GET", "/events", {}, b""),
    "wait": ("GET", "/events?entity_type=book&entity_id=nothing&wait=25", {}, b""),
    "snapshot": ("GET", "/snapshot", {}, b""),
    "declare": ("POST", "/blobs/missing", JSON, b'{"sha256":["{held}"]}'),
}


def request(token: str, names: dict[str, str], kind: str) -> bytes:
    method, target, headers, body = REQUESTS[kind]
    for name, value in names.items():
        target, body = target.replace(f"{{{name}}}", value), body.replace(f"{{{name}}}".encode(), value.encode())
    key = {} if kind in {"public bytes", "bytes of a ref", "range"} else bearer(token)
    framing: dict[str, object] = {**key, **headers, "Connection": "close", "Content-Length": len(body)}
    return head(method, target, framing) + body


def attach_to(book: str, caller: Caller, sha256: str) -> bytes:
    body = json.dumps({"sha256": sha256}).encode()
    framing = {**bearer(caller.token), **JSON, "Connection": "close", "Content-Length": len(body)}
    return head("PUT", f"/refs/book/{book}/cover/0", framing) + body


@asynccontextmanager
async def exhausted(service: Refkeep, caller: Caller, sha256: str) -> AsyncIterator[list[asyncio.Task[Heard]]]:
    """As many as there are connections wait for one entity."""
    async with session(str(service.database_url)) as other:
        await other.execute("BEGIN")
        await other.execute(f"SELECT pg_advisory_xact_lock({lock_of('entity', caller.workspace, 'book', 'locked')})")
        locked = attach_to("locked", caller, sha256)
        waiting = [asyncio.create_task(overhear(service.port, locked)) for _ in range(POOL_SIZE)]
        await lock_waiters(other, POOL_SIZE)
        yield waiting
        await other.execute("ROLLBACK")


@pytest.fixture(scope="module")
def narrow(yard: Yard) -> Iterator[Refkeep]:
    with yard.running(POOL_SIZE=POOL_SIZE, GC_INTERVAL="1h") as started:
        yield started


@pytest.mark.anyio
async def test_whoever_comes_is_told_in_two_and_a_half_seconds_and_whoever_waits_gets_it(narrow: Refkeep) -> None:
    caller, fresh = await asyncio.to_thread(narrow.caller), await asyncio.to_thread(narrow.caller)
    public = await asyncio.to_thread(caller.upload, fresh_jpeg())
    held = await asyncio.to_thread(caller.upload, fresh_text())
    cover = await asyncio.to_thread(caller.put, "book/42/cover/0", public)
    names = {"public": public, "held": held, "ref": cover.json()["ref"]["ref_id"]}
    await asyncio.sleep(1.1)  # what delivery remembers is past
    async with exhausted(narrow, caller, public) as waiting:
        began = time.monotonic()
        asked = {kind: overhear(narrow.port, request(caller.token, names, kind)) for kind in REQUESTS}
        unknown = overhear(narrow.port, request(fresh.token, names, "list"))
        answers = dict(zip(asked, await asyncio.gather(*asked.values()), strict=True)) | {"new key": await unknown}
        assert time.monotonic() - began < 2 * LONGEST_S
        metrics = (await asyncio.to_thread(httpx.get, f"{narrow.url}/metrics")).text
    labels = 'db_client_connection_state="used",worker="0"'
    assert f"db_client_connection_count{{{labels}}} {POOL_SIZE}.0\n" in metrics
    [timeouts] = re.findall(r"^db_client_connection_timeouts_total\S* (\S+)$", metrics, re.MULTILINE)
    assert float(timeouts) >= len(REQUESTS) / 2
    for kind, heard in answers.items():
        [answer] = heard.answers
        assert (kind, answer.status_code, answer.json()["code"]) == (kind, 503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert heard.seconds <= LONGEST_S, kind
    assert sorted(status for heard in await asyncio.gather(*waiting) for status in heard.statuses) == [200, 201]
    after = await asyncio.gather(*(overhear(narrow.port, request(caller.token, names, "meta")) for _ in range(8)))
    assert [heard.statuses for heard in after] == [[200]] * 8


def test_nothing_asks_the_pool_without_a_limit() -> None:
    calls = [
        (path, call)
        for path in SERVICE.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "acquire"
    ]
    pools = [(path, call) for path, call in calls if "pool" in ast.unparse(call.func)]
    assert pools
    for path, call in pools:
        assert {"timeout"} <= {keyword.arg for keyword in call.keywords}, f"{path}: {ast.unparse(call)}"
