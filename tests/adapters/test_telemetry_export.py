from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from service import observability
from service.observability import observe, observe_request, observed
from service.telemetry.sdk import Telemetry, start_telemetry
from tests.logging_state import logging_restored
from tests.otlp_receiver import attributes, hanging_receiver, otlp_receiver

pytestmark = pytest.mark.anyio

SHA = "ab" * 32


@contextmanager
def running(worker: str = "0") -> Iterator[Telemetry]:
    """Telemetry as a worker starts it, stopped at the end."""
    before = observability.outlets()
    with logging_restored():
        telemetry = start_telemetry(worker=worker, service_version="1.2.3", log_level="critical")
        yield telemetry
        telemetry.shutdown(seconds=5)
        observability.connect(before.tracer, before.meter, before.log)


@observed("media.get", layer="usecase")
async def use_case() -> None: ...


def request_scope() -> dict[str, object]:
    base: dict[str, object] = {"method": "GET", "path": f"/blobs/{SHA}", "scheme": "http", "http_version": "1.1"}
    return base | {"headers": [], "query_string": b"signature=SECRET"}


async def serve() -> None:
    with observe_request(request_scope(), operation="media.file.download", route="/blobs/{sha256}") as request:
        await use_case()
        request.complete(200, response_bytes=7, sha256=SHA)


async def test_spans_and_metrics_arrive_at_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    with otlp_receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.endpoint)
        with running():
            await serve()
    by_name = {span.name: span for span in received.spans}
    assert set(by_name) == {"GET /blobs/{sha256}", "media.get"}
    server, inner = by_name["GET /blobs/{sha256}"], by_name["media.get"]
    assert inner.parent_span_id == server.span_id
    told = attributes(server.attributes)
    assert {"operation": "media.file.download", "outcome": "success", "response_bytes": "7"}.items() <= told.items()
    assert told["trace_id"] == server.trace_id.hex()
    assert "SECRET" not in str(told)
    assert received.resources[0]["service.name"] == "refkeep"
    assert received.resources[0]["service.version"] == "1.2.3"
    assert {"http.server.request.duration", "media.operation.duration", "media.download.bytes"} <= received.metrics


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_SERVICE_NAME", "media"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=media,deployment=test")],
)
async def test_the_standard_variables_name_the_service(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with otlp_receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{received.endpoint}/v1/traces")
        monkeypatch.setenv(name, value)
        with running():
            await serve()
    assert received.resources[0]["service.name"] == "media"
    assert received.metrics == set()


@pytest.mark.parametrize("variable", ["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"])
async def test_a_signal_switched_off_is_not_sent(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with otlp_receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.endpoint)
        monkeypatch.setenv(variable, "none")
        with running():
            await serve()
    assert (received.spans == []) is (variable == "OTEL_TRACES_EXPORTER")
    assert (received.metrics == set()) is (variable == "OTEL_METRICS_EXPORTER")


SAMPLED, UNSAMPLED = "01", "00"


@pytest.mark.parametrize(
    ("sampler", "caller", "is_sent"),
    [
        (None, None, True),
        (None, SAMPLED, True),
        (None, UNSAMPLED, False),
        ("parentbased_always_off", None, False),
        ("parentbased_always_off", SAMPLED, True),
        ("parentbased_traceidratio", None, False),
        ("parentbased_traceidratio", SAMPLED, True),
        ("always_on", UNSAMPLED, True),
        ("always_off", SAMPLED, False),
    ],
    ids=str,
)
async def test_who_called_decides_what_is_sampled_unless_a_sampler_is_set(
    monkeypatch: pytest.MonkeyPatch, sampler: str | None, caller: str | None, is_sent: bool
) -> None:
    trace = f"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{caller}"
    headers = [] if caller is None else [(b"traceparent", trace.encode())]
    with otlp_receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{received.endpoint}/v1/traces")
        if sampler is not None:
            monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
            monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
        scope = request_scope() | {"headers": headers}
        with running() as telemetry:
            with observe_request(scope, operation="media.file.download", route="/blobs/{sha256}") as request:
                await use_case()
                followed = observability.trace_id()
                request.complete(200)
            told = telemetry.render_metrics("application/openmetrics-text; version=1.0.0")[0].decode()
    assert {span.name for span in received.spans} == ({"GET /blobs/{sha256}", "media.get"} if is_sent else set())
    assert (caller is None) or followed == "0af7651916cd43dd8448eb211c80319c"
    assert ('# {span_id="' in told) is is_sent
    assert 'media_operation_duration_seconds_count{operation="media.get",outcome="success",worker="0"} 1.0' in told


async def test_without_a_collector_nothing_is_recorded_and_the_trace_of_the_caller_goes_on() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    scope = request_scope() | {"headers": [(b"traceparent", trace.encode())]}
    with (
        running() as telemetry,
        observe_request(scope, operation="media.file.download", route="/blobs/{sha256}") as request,
    ):
        context = request.span.get_span_context()
        assert (request.span.is_recording(), context.trace_flags.sampled) == (False, False)
        assert format(context.trace_id, "032x") == observability.trace_id() == trace.split("-")[1]
        assert format(context.span_id, "016x") != trace.split("-")[2]
        assert observe("media.get", layer="usecase").span is request.span
        request.complete(200, response_bytes=3)
        assert "media_download_bytes_total" in telemetry.render_metrics()[0].decode()


@pytest.mark.parametrize("word", ["true", "TRUE "])
async def test_telemetry_that_is_switched_off_measures_nothing_and_sends_nothing(
    monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    with otlp_receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.endpoint)
        monkeypatch.setenv("OTEL_SDK_DISABLED", word)
        with running() as telemetry:
            await serve()
            told = telemetry.render_metrics()[0].decode()
    assert (received.spans, received.metrics) == ([], set())
    assert [line for line in told.splitlines() if not line.startswith("#") and not line.startswith("target_info")] == []


async def test_bounds_are_written_alike_whoever_counted() -> None:
    with running() as telemetry:
        observability.outlets().meter.create_histogram(
            "made.by.the.sdk", "s", "", explicit_bucket_boundaries_advisory=[0.5, 1, 5]
        ).record(3)
        await serve()
        told = telemetry.render_metrics()[0].decode()
    bounds = set(re.findall(r'le="([^"]*)"', told))
    assert bounds >= {"0.005", "0.5", "1.0", "5.0", "+Inf"}
    assert all("." in bound for bound in bounds - {"+Inf"})


@contextmanager
def outlived_threads() -> Iterator[None]:
    """Leaves no exporter behind: its retries would draw from the `random` of the tests that follow."""
    before = {*threading.enumerate()}
    yield
    for thread in {*threading.enumerate()} - before:
        thread.join(60)
        assert not thread.is_alive(), thread


async def test_a_collector_that_hangs_delays_neither_calls_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SCHEDULE_DELAY": "1", "MAX_QUEUE_SIZE": "256", "MAX_EXPORT_BATCH_SIZE": "64"}.items():
        monkeypatch.setenv(f"OTEL_BSP_{name}", value)
    # The receiver ends first: whatever hangs at it then breaks off, and what was sent is not tried again.
    with outlived_threads(), hanging_receiver() as endpoint, logging_restored():
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        before = observability.outlets()
        telemetry = start_telemetry(log_level="critical")
        slowest = 0.0
        for _ in range(500):  # four times what the queue holds
            started = time.perf_counter()
            await serve()
            slowest = max(slowest, time.perf_counter() - started)
        started = time.perf_counter()
        telemetry.shutdown(seconds=0.5)
        took = time.perf_counter() - started
        observability.connect(before.tracer, before.meter, before.log)
    assert slowest < 5  # one export to it takes the exporter's whole time-out, 10 s
    assert took < 5  # the SDK by itself would wait for 30 s


async def test_prometheus_reads_the_metrics_of_its_worker() -> None:
    with running(worker="3") as telemetry:
        for number in range(50):
            with observe_request(
                request_scope() | {"path": f"/blobs/{number:064x}"},
                operation="media.file.download",
                route="/blobs/{sha256}",
            ) as request:
                opened = observe("media.storage.open", layer="storage", backend="memory")
                opened.finish()
                request.complete(200, response_bytes=10)
        body, content_type = telemetry.render_metrics("text/plain")
    text = body.decode()
    assert content_type.startswith("text/plain")
    assert re.search(r'^media_download_bytes_total\{worker="3"\} 500\.0$', text, re.MULTILINE)
    assert re.search(
        r'^media_storage_duration_seconds_count\{backend="memory",.*worker="3"\} 50\.0$', text, re.MULTILINE
    )
    assert 'http_route="/blobs/{sha256}"' in text
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) <= 100
    assert not [line for line in samples if re.search(r"[0-9a-f]{32,}", line)]


async def test_a_scraper_may_ask_for_openmetrics() -> None:
    with running() as telemetry:
        await serve()
        body, content_type = telemetry.render_metrics("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
