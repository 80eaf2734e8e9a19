from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.adapters.memory.storage import MemoryStorage
from service.observability import current, observe_request, observed
from service.router.api import operations_by_route
from service.telemetry.requests import App, Route, RouteTable, instrument
from tests.parts.desk import call, desk_on
from tests.telemetry_recorder import Recorder, recording

pytestmark = pytest.mark.anyio

ROUTES = [
    Route("PUT", "/blobs/{sha256}", "media.file.upload"),
    Route("GET", "/blobs/{sha256}", "media.file.download"),
    Route("GET", "/blobs/{sha256}/meta", "blob.meta"),
    Route("GET", "/blobs/{sha256}/{preset}", "media.file.download"),
    Route("POST", "/blobs/missing", "blob.missing"),
    Route("PUT", "/refs/{entity_type}/{entity_id}/{role}/order", "ref.reorder"),
    Route("PUT", "/refs/{entity_type}/{entity_id}/{role}/{position}", "ref.put"),
]
SHA = "ab" * 32


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with recording() as found:
        yield found


async def respond(send: Any, status: int, *chunks: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    for position, chunk in enumerate(chunks, start=1):
        await send({"type": "http.response.body", "body": chunk, "more_body": position < len(chunks)})


@observed("media.get", layer="usecase")
async def use_case() -> None: ...


async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    if scope["path"] == "/crash":
        raise ZeroDivisionError("with a message that nobody shall see: rk_1_SECRET")
    if scope["path"] == "/gone":
        return
    await use_case()
    status = 404 if scope["path"].startswith("/unknown") else 200
    await respond(send, status, scope["query_string"], b"abc")


def client(served: App) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://testserver:8080")


@pytest.mark.parametrize(
    ("method", "path", "template", "operation"),
    [
        ("GET", f"/blobs/{SHA}", "/blobs/{sha256}", "media.file.download"),
        ("HEAD", f"/blobs/{SHA}", "/blobs/{sha256}", "media.file.download"),
        ("DELETE", f"/blobs/{SHA}", "/blobs/{sha256}", "unknown"),
        ("GET", f"/blobs/{SHA}/meta", "/blobs/{sha256}/meta", "blob.meta"),
        ("GET", f"/blobs/{SHA}/thumb", "/blobs/{sha256}/{preset}", "media.file.download"),
        ("POST", "/blobs/missing", "/blobs/missing", "blob.missing"),
        ("PUT", "/refs/book/42/cover/order", "/refs/{entity_type}/{entity_id}/{role}/order", "ref.reorder"),
        ("PUT", "/refs/book/42/cover/0", "/refs/{entity_type}/{entity_id}/{role}/{position}", "ref.put"),
        ("GET", "/blobs/", "{unknown}", "unknown"),
        ("GET", f"/blobs/{SHA}/", "{unknown}", "unknown"),
        ("GET", "/wp-login.php", "{unknown}", "unknown"),
        ("GET", f"/blobs/{SHA}\n", "/blobs/{sha256}", "media.file.download"),
    ],
)
def test_a_path_finds_its_template_and_operation(method: str, path: str, template: str, operation: str) -> None:
    found = RouteTable(ROUTES).find(method, path)
    assert (found.template, found.operation) == (template, operation)


def test_a_table_without_routes_knows_nothing() -> None:
    assert RouteTable([]).find("GET", "/").template == "{unknown}"


async def test_one_server_span_holds_the_fields_of_the_handlers_line(recorder: Recorder) -> None:
    async with client(instrument(app, ROUTES)) as http:
        answer = await http.get(f"/blobs/{SHA}/meta?signature=SECRET", headers={"X-Request-ID": "r-1"})
    assert answer.content == b"signature=SECRETabc"
    assert answer.headers["x-request-id"] == "r-1"
    assert [span.name for span in recorder.exporter.get_finished_spans()] == ["media.get", "GET /blobs/{sha256}/meta"]
    server, inner = recorder.spans["GET /blobs/{sha256}/meta"], recorder.spans["media.get"]
    assert inner.parent == server.context
    line = recorder.line("request_completed", "blob.meta")
    told = {name: value for name, value in line.items() if name not in ("timestamp", "level", "event")}
    assert told.items() <= dict(server.attributes or {}).items()
    assert (line["outcome"], line["response_bytes"]) == ("success", len(answer.content))
    assert "SECRET" not in f"{server.attributes}{server.events}{recorder.stream.getvalue()!r}"
    assert recorder.lines[0]["event"] == "request_received"
    assert current() is None


async def test_delivery_makes_the_same_span_and_metric_as_the_instrumentation(recorder: Recorder) -> None:
    async def delivery(scope: MutableMapping[str, Any], _: Any, send: Any) -> None:
        with observe_request(scope, operation="media.file.download", route="/blobs/{sha256}") as request:
            request.complete(200, response_bytes=3)
            await respond(send, 200, b"abc")

    async def plain(_: Any, __: Any, send: Any) -> None:
        await respond(send, 200, b"abc")

    path = f"/blobs/{SHA}?signature=SECRET"
    for served in (delivery, instrument(plain, ROUTES)):
        async with client(served) as http:
            await http.get(path, headers={"User-Agent": "curl/8", "X-Request-ID": "r-1"})
    by_hand, made = recorder.exporter.get_finished_spans()
    assert (by_hand.name, by_hand.kind) == (made.name, made.kind)
    varying = {"duration_ms", "trace_id", "server.address", "storage_duration_ms"}
    assert strip(by_hand.attributes, varying) == strip(made.attributes, varying)
    assert set(by_hand.attributes or {}) == set(made.attributes or {})
    (point,) = recorder.points("http.server.request.duration")
    assert point.count == 2


def strip(attributes: Any, names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in dict(attributes).items() if name not in names}


async def test_a_crash_passes_through_and_leaves_only_its_type(recorder: Recorder) -> None:
    async with client(instrument(app, ROUTES)) as http:
        with pytest.raises(ZeroDivisionError):
            await http.get("/crash")
    (span,) = recorder.exporter.get_finished_spans()
    assert span.events == ()
    assert "SECRET" not in str(span.attributes)
    line = recorder.line("request_completed", "unknown")
    assert (line["outcome"], line["error_type"], line["level"]) == ("error", "internal", "error")
    assert "ZeroDivisionError" in line["exception"]
    assert "SECRET" not in line["exception"]


async def test_an_app_that_does_not_answer_lost_its_client(recorder: Recorder) -> None:
    async def read() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def write(_: object) -> None: ...

    scope = {"type": "http", "method": "GET", "path": "/gone", "query_string": b"", "headers": [], "scheme": "http"}
    await instrument(app, ROUTES)({**scope, "http_version": "1.1"}, read, write)
    assert recorder.line("request_completed", "unknown")["outcome"] == "client_aborted"


async def test_other_connections_than_requests_pass_untouched(recorder: Recorder) -> None:
    seen: list[str] = []

    async def lifespan(scope: MutableMapping[str, Any], _: object, __: object) -> None:
        seen.append(scope["type"])

    await instrument(lifespan, ROUTES)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]
    assert recorder.lines == []


async def test_hashes_and_unknown_paths_make_few_names_and_series(tmp_path: Path) -> None:
    """A thousand; `make e2e` asks a running service for ten thousand."""
    storage = MemoryStorage(tmp_path)
    await storage.aopen()
    desk = desk_on(storage)
    shown = await desk.add(b"shown")
    with recording("info") as recorder:
        served = instrument(app, [Route(*route) for route in operations_by_route()])
        for number in range(1000):
            await call(desk.delivery, f"/blobs/{number:064x}" if number % 10 else shown)
        async with client(served) as http:
            for number in range(200):
                await http.request("MKCOL" if number % 2 else "GET", f"/unknown/{number:064x}")
                await http.get(f"/blobs/{number:064x}/meta")
        names = Counter(span.name for span in recorder.exporter.get_finished_spans())
        points = [point for metric in recorder.metrics for point in metric.data.data_points]
    of_requests = {"GET /blobs/{sha256}": 1000, "GET /blobs/{sha256}/meta": 200}
    of_unknown = {"GET {unknown}": 100, "HTTP {unknown}": 100, "media.get": 400}
    assert of_requests.items() | of_unknown.items() <= names.items()
    assert len(names) <= 10
    lines = sum(len(getattr(point, "bucket_counts", ())) + 2 for point in points)
    assert lines <= 400
    labels = [str(value) for point in points for value in (point.attributes or {}).values()]
    assert [label for label in labels if re.search("[0-9a-f]{32,}", label)] == []


WITH_B3 = """
from opentelemetry.trace import get_current_span
from service.observability.propagation import extract
from service.telemetry.requests import instrument
instrument(None, [])
print(get_current_span(extract({"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"})).get_span_context().is_valid)
"""


@pytest.mark.parametrize(("asked", "is_continued"), [("b3,tracecontext", "True"), ("b3", "False"), ("none", "False")])
def test_a_propagator_that_is_not_installed_keeps_nothing_from_its_start(asked: str, is_continued: str) -> None:
    settings = os.environ | {"OTEL_PROPAGATORS": asked}
    done = subprocess.run([sys.executable, "-c", WITH_B3], env=settings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{is_continued}\n"), done.stderr
    assert ("left out: b3" in done.stderr) == ("b3" in asked)
