from __future__ import annotations

import asyncio
import enum
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from service.domain.errors import BadHash, BytesCorrupt, ObjectMissing, PolicyUnknown, StorageUnavailable
from service.observability import (
    Fact,
    Layer,
    RoutineRequest,
    correlation_id,
    current,
    observe,
    observe_request,
    observed,
    outcome_of_status,
    outlets,
    redact,
    request_id,
    timed,
    timed_stream,
    trace_id,
)
from tests.telemetry_recorder import Recorder, recording

pytestmark = pytest.mark.anyio

SHA = "ab" * 32
EVENTS: dict[Layer, str] = {
    "usecase": "usecase_completed",
    "repo": "repo_completed",
    "storage": "storage_completed",
}
METRICS: dict[Layer, str] = {
    "usecase": "media.operation.duration",
    "repo": "db.client.operation.duration",
    "storage": "media.storage.duration",
}


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with recording() as found:
        yield found


def scope(path: str = f"/blobs/{SHA}", method: str = "GET", **headers: str) -> dict[str, object]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"signature=abc",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.9", 55000),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }


def raising(
    error: BaseException, layer: Layer = "usecase", operation: str = "ref.put"
) -> Callable[[], Awaitable[None]]:
    @observed(operation, layer=layer)
    async def call() -> None:
        raise error

    return call


@pytest.mark.parametrize("layer", ["usecase", "repo", "storage"])
async def test_span_point_and_line_of_a_call_tell_the_same(recorder: Recorder, layer: Layer) -> None:
    @observed("ref.put", layer=layer, span_name="the call")
    async def call() -> list[int]:
        return [1, 2]

    assert await call() == [1, 2]
    line = recorder.line(EVENTS[layer], "ref.put")
    fields = {name: value for name, value in line.items() if name not in ("timestamp", "level", "event")}
    on_span = dict(recorder.spans["the call"].attributes or {})
    assert fields.items() <= on_span.items()
    assert set(on_span) - set(fields) <= {"db.system.name", "db.query.summary"}
    ((count, total),) = recorder.histogram(METRICS[layer]).values()
    assert count == 1
    assert total == pytest.approx(line["db_duration_ms" if layer == "repo" else "duration_ms"] / 1000)
    assert line["trace_id"] == format(recorder.spans["the call"].context.trace_id, "032x")


@pytest.mark.parametrize(
    ("error", "outcome", "error_type"),
    [
        (PolicyUnknown("book", "x", ["y"]), "rejected", "policy_unknown"),
        (BadHash("x"), "rejected", "bad_hash"),
        (ObjectMissing("key"), "error", "blob_missing"),
        (BytesCorrupt(), "error", "blob_missing"),
        (StorageUnavailable("down"), "error", "storage_unavailable"),
        (TimeoutError(), "error", "timeout"),
        (asyncio.CancelledError(), "client_aborted", "cancelled"),
        (ZeroDivisionError("hidden"), "error", "internal"),
    ],
)
async def test_an_exception_names_its_outcome_everywhere(
    recorder: Recorder, error: BaseException, outcome: str, error_type: str
) -> None:
    with pytest.raises(type(error)):
        await raising(error)()
    line = recorder.line("usecase_completed", "ref.put")
    span = recorder.spans["media.ref.put"]
    assert (line["outcome"], line["error_type"]) == (outcome, error_type)
    assert (span.attributes or {})["error_type"] == error_type
    assert span.status.status_code is (StatusCode.ERROR if outcome == "error" else StatusCode.UNSET)
    assert line["level"] == ("error" if outcome == "error" else "info")
    assert list(recorder.histogram("media.operation.duration")) == [(("operation", "ref.put"), ("outcome", outcome))]
    assert ("exception" in line) is (error_type == "internal")


async def test_an_unexpected_error_shows_its_traceback_once_a_request(recorder: Recorder) -> None:
    inner = raising(ZeroDivisionError("seen"), "repo", "ref.find")

    @observed("ref.put", layer="usecase")
    async def outer() -> None:
        await inner()

    with pytest.raises(ZeroDivisionError), observe_request(scope(), operation="ref.put", route="/refs"):
        await outer()
    assert [("exception" in line) for line in recorder.lines] == [False, True, False, False]
    assert "ZeroDivisionError: seen" in recorder.line("repo_completed", "ref.find")["exception"]
    assert all("seen" not in str(span.attributes) + str(span.events) for span in recorder.spans.values())


def test_what_yields_cannot_be_decorated() -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b""

    def plain() -> None: ...

    for function in (stream, plain):
        with pytest.raises(TypeError, match="no coroutine function"):
            observed("ref.put", layer="usecase")(function)  # type: ignore[arg-type]


async def test_inner_calls_are_children_and_siblings_are_not(recorder: Recorder) -> None:
    @observed("ref.find", layer="repo", span_name="SELECT refs")
    async def find() -> None: ...

    @observed("media.get", layer="usecase")
    async def get() -> None:
        opened = observe("media.storage.open", layer="storage", backend="memory")
        await find()
        opened.finish()

    with observe_request(scope(), operation="media.get", route="/media/{ref_id}") as request:
        await get()
        request.complete(200)
    server, usecase = recorder.spans["GET /media/{ref_id}"], recorder.spans["media.get"]
    assert usecase.parent == server.context
    for name in ("SELECT refs", "media.storage.open"):
        assert recorder.spans[name].parent == usecase.context
        assert recorder.spans[name].kind is SpanKind.CLIENT
    assert {line["trace_id"] for line in recorder.lines[1:]} == {format(server.context.trace_id, "032x")}
    assert {line["correlation_id"] for line in recorder.lines} == {request.correlation_id}


async def test_a_decision_and_facts_of_the_result_are_told(recorder: Recorder) -> None:
    class Decision(enum.Enum):
        INSERT = "insert"

    @dataclass
    class Uploaded:
        decision: Decision
        size: int

    def size(result: Uploaded) -> dict[str, Fact]:
        return {"bytes": result.size}

    @observed("media.file.upload", layer="usecase", facts=size)
    async def upload() -> Uploaded:
        return Uploaded(Decision.INSERT, 7)

    await upload()
    line = recorder.line("usecase_completed", "media.file.upload")
    assert (line["decision"], line["bytes"], line["outcome"]) == ("insert", 7, "success")


async def test_an_outcome_among_the_facts_wins(recorder: Recorder) -> None:
    @observed("media.get", layer="usecase", facts=lambda _: {"outcome": "on_hold"})
    async def get() -> None: ...

    await get()
    assert recorder.line("usecase_completed", "media.get")["outcome"] == "on_hold"


@pytest.mark.parametrize(("result", "rows"), [(None, 0), ([], 0), ([1, 2, 3], 3), ((1,), 1), (object(), 1)])
async def test_a_repository_tells_its_rows(recorder: Recorder, result: object, rows: int) -> None:
    @observed("ref.find", layer="repo")
    async def find() -> object:
        return result

    await find()
    assert recorder.line("repo_completed", "ref.find")["row_count"] == rows


async def test_a_translated_driver_error_keeps_its_sqlstate(recorder: Recorder) -> None:
    class DriverError(Exception):
        sqlstate = "23505"

    @observed("ref.insert", layer="repo", span_name="INSERT refs")
    async def insert() -> None:
        raise BadHash("x") from DriverError()

    with pytest.raises(BadHash):
        await insert()
    assert recorder.line("repo_completed", "ref.insert")["db_error_code"] == "23505"
    assert (recorder.spans["INSERT refs"].attributes or {})["db.response.status_code"] == "23505"


async def test_the_parts_of_an_upload_are_counted_once(recorder: Recorder) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(0.004)
            yield b"x"

    @observed("blob.publish", layer="repo")
    async def publish() -> None:
        await asyncio.sleep(0.01)

    @observed("media.file.upload", layer="usecase")
    async def upload() -> None:
        with timed("parse"):
            chunks = [chunk async for chunk in timed_stream("receive", body())]
        with timed("hash"):
            math.factorial(len(chunks) * 500)
        await publish()

    await upload()
    line = recorder.line("usecase_completed", "media.file.upload")
    parts = [line[f"{part}_ms"] for part in ("receive", "parse", "hash", "storage", "db")]
    assert line["receive_ms"] >= 12
    assert line["db_ms"] >= 10
    assert line["parse_ms"] < line["receive_ms"]
    assert line["storage_ms"] == 0
    assert sum(parts) <= line["duration_ms"]
    phases = recorder.histogram("media.upload.phase.duration")
    assert {labels[0][1]: round(total * 1000, 3) for labels, (_, total) in phases.items()} == dict(
        zip(("receive", "parse", "hash", "storage", "db"), parts, strict=True)
    )


async def test_uploads_in_flight_are_counted_while_they_last(recorder: Recorder) -> None:
    @observed("media.file.upload", layer="usecase")
    async def upload() -> list[float]:
        return recorder.values("media.upload.in_flight")

    assert await upload() == [1]
    with pytest.raises(BadHash):
        await raising(BadHash("x"), operation="media.file.upload")()
    assert recorder.values("media.upload.in_flight") == [0]


async def test_a_record_is_made_once(recorder: Recorder) -> None:
    opened = observe("media.storage.open", layer="storage", backend="memory")
    opened.finish()
    opened.fail(ObjectMissing("key"))
    opened.finish()
    assert recorder.line("storage_completed", "media.storage.open")["outcome"] == "success"


async def test_delivery_writes_one_line_at_info_and_the_rest_at_debug(recorder: Recorder) -> None:
    with observe_request(
        scope(x_request_id="r-1"), operation="media.file.download", route="/blobs/{sha256}", quiet=True
    ) as request:
        assert correlation_id() == "r-1"
        with observe("media.storage.open", layer="storage", backend="memory") as opened:
            opened.finish()
        request.complete(200, response_bytes=16384, sha256=SHA, cache_hit=False)
    assert [(line["event"], line["level"]) for line in recorder.lines] == [
        ("request_received", "debug"),
        ("storage_completed", "debug"),
        ("request_completed", "info"),
    ]
    line = recorder.lines[-1]
    assert line["storage_duration_ms"] == recorder.lines[1]["storage_duration_ms"]
    assert (line["response_bytes"], line["sha256"], line["cache_hit"]) == (16384, SHA, False)
    assert recorder.values("media.download.bytes") == [16384]
    assert (correlation_id(), current(), trace_id()) == (None, None, None)


async def test_the_server_span_of_delivery_continues_the_callers_trace(recorder: Recorder) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with observe_request(
        scope(traceparent=parent, user_agent="curl/8"), operation="media.file.download", route="/blobs/{sha256}"
    ) as request:
        request.complete(404)
    (span,) = recorder.exporter.get_finished_spans()
    assert span.name == "GET /blobs/{sha256}"
    assert span.kind is SpanKind.SERVER
    assert format(span.context.trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"
    assert span.parent is not None
    assert format(span.parent.span_id, "016x") == "b7ad6b7169203331"
    assert (span.attributes or {})["http.response.status_code"] == 404
    assert recorder.line("request_completed", "media.file.download")["outcome"] == "not_found"
    assert "abc" not in str(span.attributes)
    assert SHA not in str(recorder.histogram("http.server.request.duration"))


async def test_a_request_left_without_an_answer_was_aborted_by_its_client(recorder: Recorder) -> None:
    with observe_request(scope(), operation="media.file.download", route="/blobs/{sha256}"):
        pass
    assert recorder.line("request_completed", "media.file.download")["outcome"] == "client_aborted"


async def test_a_failure_that_became_an_answer_is_still_told(recorder: Recorder) -> None:
    with observe_request(scope(), operation="media.file.download", route="/blobs/{sha256}") as request:
        request.note_failure(ObjectMissing("key"))
        request.complete(500)
    line = recorder.line("request_completed", "media.file.download")
    assert (line["outcome"], line["error_type"]) == ("error", "blob_missing")
    (labels,) = [dict(found) for found in recorder.histogram("http.server.request.duration")]
    assert labels["error.type"] == "500"


async def test_a_refusal_of_the_framework_is_no_defect(recorder: Recorder) -> None:
    with observe_request(scope(), operation="unknown", route="{unknown}") as request:
        request.note_failure(LookupError("no such route"))
        request.complete(404)
    line = recorder.line("request_completed", "unknown")
    assert line["outcome"] == "not_found"
    assert not {"error_type", "exception"} & set(line)


async def test_a_body_that_broke_off_is_a_failure_whatever_its_status(recorder: Recorder) -> None:
    with observe_request(scope(), operation="media.file.download", route="/blobs/{sha256}") as request:
        request.note_failure(StorageUnavailable("cut"))
        request.complete(200, response_bytes=5)
    assert recorder.line("request_completed", "media.file.download")["error_type"] == "storage_unavailable"


async def test_a_caller_that_went_away_is_no_defect(recorder: Recorder) -> None:
    class Gone(Exception):
        outcome = "client_aborted"

    with pytest.raises(Gone):
        await raising(Gone())()
    line = recorder.line("usecase_completed", "ref.put")
    assert (line["outcome"], line["error_type"], line["level"]) == ("client_aborted", "cancelled", "info")
    assert "exception" not in line


async def test_an_invented_method_makes_no_name(recorder: Recorder) -> None:
    with observe_request(scope(method="X" * 40), operation="unknown", route="{unknown}") as request:
        request.complete(405)
    assert list(recorder.spans) == ["HTTP {unknown}"]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "success"),
        (206, "success"),
        (304, "not_modified"),
        (401, "forbidden"),
        (403, "forbidden"),
        (404, "not_found"),
        (410, "not_found"),
        (412, "rejected"),
        (416, "rejected"),
        (451, "on_hold"),
        (503, "error"),
    ],
)
def test_a_status_tells_an_outcome(status: int, outcome: str) -> None:
    assert outcome_of_status(status) == outcome


@pytest.mark.parametrize("sent", ["a", "x" * 128, "0af7-6519:16cd~!"])
def test_a_printable_request_id_is_taken(sent: str) -> None:
    assert request_id([(b"host", b"h"), (b"x-request-id", sent.encode())]) == sent


@pytest.mark.parametrize("sent", ["", "x" * 129, "a b", "a\nb", "é", "rk_abc_secret0123456789"])
def test_any_other_request_id_is_replaced(sent: str) -> None:
    made = request_id([(b"x-request-id", sent.encode())])
    assert made != sent
    assert len(made) == 32


@pytest.mark.parametrize(
    "text",
    [
        "key rk_01ab_SECRET-x_y is wrong",
        "Authorization: Bearer SECRET",
        '{"headers":{"authorization":"Token SECRET"}}',
        "[(b'authorization', b'Basic SECRET')]",
        "GET /b?X-Amz-Algorithm=AWS4&X-Amz-Credential=SECRET%2F2026&X-Amz-Signature=SECRET",
        "AWS4-HMAC-SHA256 Credential=SECRET/2026/s3, SignedHeaders=host, Signature=SECRET",
        "/blobs/x?expires=1&signature=SECRET",
        "/blobs/x?sig%3DSECRET",
        "cannot reach postgresql://refkeep:SECRET@db/refkeep",
    ],
)
def test_no_secret_survives_redaction(text: str) -> None:
    assert "SECRET" not in redact(text)
    assert "[redacted]" in redact(text)


@pytest.mark.parametrize("text", ["work_done", f"/blobs/{SHA}", "a basic signal", "http://h/p", "token_count"])
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_before_any_set_up_records_cost_no_error() -> None:
    assert outlets().tracer is not None
    observe("media.get", layer="usecase").finish()


async def test_a_routine_writes_its_line_at_debug_and_its_errors_as_ever(recorder: Recorder) -> None:
    @observed("events.lag", layer="repo", routine=True)
    async def call(*, fails: bool) -> None:
        if fails:
            raise StorageUnavailable("It does not answer.")

    await call(fails=False)
    with pytest.raises(StorageUnavailable):
        await call(fails=True)
    levels = [(line["level"], line["outcome"]) for line in recorder.lines]
    assert levels == [("debug", "success"), ("error", "error")]
    points = recorder.points("db.client.operation.duration")
    assert sorted(("error.type" in point.attributes, point.count) for point in points) == [(False, 1), (True, 1)]


HEADERS = [{}, {"x_request_id": "r-1", "user_agent": "curl/8"}]
HEADERS += [{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}]


@pytest.mark.parametrize("headers", HEADERS)
async def test_a_routine_request_leaves_what_an_observed_one_leaves(headers: dict[str, str]) -> None:
    facts: dict[str, Any] = {"sha256": SHA, "cache_hit": True, "response_bytes": 16384}
    asked = scope(**headers)
    with recording() as observed_one:
        with observe_request(asked, operation="media.file.download", route="/blobs/{sha256}", quiet=True) as request:
            request.complete(200, **facts)
        left = traces_of(observed_one)
    with recording() as routine_one:
        routine = RoutineRequest("media.file.download", "/blobs/{sha256}", 200, storage_duration_ms=0.0, **facts)
        routine.record(asked, 0.0015)
        assert traces_of(routine_one) == left
        assert routine_one.line("request_completed", "media.file.download")["duration_ms"] == 1.5
        [span] = routine_one.exporter.get_finished_spans()
        assert (span.end_time or 0) - (span.start_time or 0) >= 1_500_000
        routine.record(asked, 0.5)
        assert routine_one.values("media.download.bytes") == [2 * 16384]


def traces_of(recorder: Recorder) -> object:
    """All that a request has left, but for what differs from one to the next."""
    [span] = recorder.exporter.get_finished_spans()
    parent = span.parent and span.parent.span_id
    points = {name: [*recorder.histogram(name)] for name in ("http.server.request.duration", METRICS["usecase"])}
    exemplars = [len(point.exemplars) for point in recorder.points(METRICS["usecase"])]
    lines = [steady(line) for line in recorder.lines]
    attributes = steady(dict(span.attributes or {}))
    return span.name, span.kind, span.status.status_code, parent, attributes, points, exemplars, lines


def steady(fields: dict[str, object]) -> dict[str, object]:
    """Fields without their own times and made-up ids, of which the length is kept."""
    changing = ("timestamp", "duration_ms", "correlation_id", "trace_id")
    return {name: type(value) if name in changing else value for name, value in fields.items()}


async def test_a_routine_request_is_told_below_the_threshold_by_its_end_alone() -> None:
    with recording(level="info") as recorder:
        RoutineRequest("media.file.download", "/blobs/{sha256}", 200, sha256=SHA).record(scope(), 0.001)
        assert [line["event"] for line in recorder.lines] == ["request_completed"]


async def test_a_secret_among_the_facts_of_a_routine_is_not_written(recorder: Recorder) -> None:
    RoutineRequest("media.file.download", "/blobs/{sha256}", 200, note="Bearer rk_abc_def").record(scope(), 0.001)
    assert "rk_abc" not in recorder.stream.getvalue().decode()
