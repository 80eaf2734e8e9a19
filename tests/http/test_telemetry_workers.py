"""Several workers of one service: whichever of them a scraper reaches tells of all."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator

import httpx
import psutil
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.samples import Sample

from tests.otlp_receiver import Received, otlp_receiver
from tests.parts.fresh import fresh_text
from tests.parts.service import Refkeep, Yard, eventually

WORKERS = 2
OPENMETRICS = {"accept": "application/openmetrics-text; version=1.0.0"}
OF_THE_DATABASE = {"media_gc_backlog", "media_integrity_failures", "media_events_lag_seconds"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Received]:
    with otlp_receiver() as received:
        yield received


@pytest.fixture(scope="module")
def pair(yard: Yard, collector: Received) -> Iterator[Refkeep]:
    """One service with two workers that export what they trace and count."""
    exported = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "200"}
    with yard.running(WORKERS=WORKERS, GC_INTERVAL="100ms", **exported) as service:
        yield service


def scraped(service: Refkeep) -> list[Sample]:
    """What one scrape, on a connection of its own, reads."""
    text = httpx.get(f"{service.url}/metrics", headers=OPENMETRICS).text
    return [sample for family in openmetrics(text) for sample in family.samples]  # type: ignore[no-untyped-call]


def by_worker(samples: list[Sample], name: str, **labels: str) -> dict[str, float]:
    return {
        sample.labels["worker"]: sample.value
        for sample in samples
        if sample.name == name and labels.items() <= sample.labels.items()
    }


def test_any_worker_tells_the_numbers_of_all(pair: Refkeep) -> None:
    caller = pair.caller("read", "write")
    eventually(lambda: {sample.labels["worker"] for sample in scraped(pair)} == {"0", "1"})
    before = sum(by_worker(scraped(pair), "media_operation_duration_seconds_count", operation="event.list").values())
    for _ in range(10):
        httpx.get(f"{pair.url}/events", headers={"authorization": f"Bearer {caller.token}"}).raise_for_status()
    for _ in range(3):
        counted = by_worker(scraped(pair), "media_operation_duration_seconds_count", operation="event.list")
        assert sum(counted.values()) - before == 10
    alive = by_worker(scraped(pair), "asyncio_eventloop_lag_seconds_count")
    assert set(alive) == {"0", "1"}


def test_each_series_stands_once_under_one_heading(pair: Refkeep) -> None:
    for accept in ("text/plain", *OPENMETRICS.values()):
        lines = httpx.get(f"{pair.url}/metrics", headers={"accept": accept}).text.splitlines()
        series = [line.rsplit(" # ")[0].rsplit(" ", 1)[0] for line in lines if not line.startswith("#")]
        assert [name for name, times in Counter(series).items() if times > 1] == []
        headings = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
        assert sorted(set(headings)) == sorted(headings)


def test_what_the_database_knows_is_told_by_one_worker(pair: Refkeep) -> None:
    eventually(lambda: {sample.name for sample in scraped(pair)} >= OF_THE_DATABASE)
    told = {(sample.name, sample.labels["worker"]) for sample in scraped(pair) if sample.name in OF_THE_DATABASE}
    assert told == {(name, "0") for name in OF_THE_DATABASE}


def test_the_pool_of_each_worker_is_told(pair: Refkeep) -> None:
    samples = scraped(pair)
    most = by_worker(samples, "db_client_connection_max")
    assert most == dict.fromkeys("01", 10.0)
    for state in ("used", "idle"):
        counts = by_worker(samples, "db_client_connection_count", db_client_connection_state=state)
        assert all(0 <= count <= 10 for count in counts.values())
    waits = by_worker(samples, "db_client_connection_wait_time_seconds_count")
    assert waits["0"] > 0


def test_an_example_leads_to_the_trace_that_was_exported(pair: Refkeep, collector: Received) -> None:
    caller = pair.caller("read", "write")
    trace = os.urandom(16).hex()
    caller.http.post("/blobs", content=fresh_text(), headers={"traceparent": f"00-{trace}-{'ab' * 8}-01"})

    def example() -> Sample:
        found = [
            sample
            for sample in scraped(pair)
            if sample.exemplar is not None and sample.exemplar.labels["trace_id"] == trace
        ]
        names = {sample.name.removesuffix("_bucket") for sample in found}
        assert names >= {"media_operation_duration_seconds", "media_upload_phase_duration_seconds"}
        return next(sample for sample in found if sample.labels.get("operation") == "media.file.upload")

    found = example()
    assert found.exemplar is not None
    assert found.exemplar.value <= float(found.labels["le"])
    span_id = bytes.fromhex(found.exemplar.labels["span_id"])
    eventually(lambda: any(span.span_id == span_id for span in collector.spans), 20)
    [span] = [span for span in collector.spans if span.span_id == span_id]
    assert (span.name, span.trace_id.hex()) == ("media.file.upload", trace)


def test_collectors_can_tell_workers_apart(pair: Refkeep, collector: Received) -> None:
    def instances() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for resource in list(collector.resources):
            found.setdefault(resource["worker"], set()).add(resource["service.instance.id"])
        return found

    eventually(lambda: set(instances()) == {"0", "1"}, 20)
    ids = [*instances().values()]
    assert [len(each) for each in ids] == [1, 1]
    assert ids[0] != ids[1]
    assert all(re.fullmatch(r"[0-9a-f-]{36}", each) for found in ids for each in found)


def test_a_caller_of_one_worker_meets_the_other_too(pair: Refkeep) -> None:
    """Both workers serve, or the tests above would say nothing."""
    counted = by_worker(scraped(pair), "http_server_request_duration_seconds_count", http_route="/metrics")
    for _ in range(200):
        if len(counted) == WORKERS:
            break
        counted = by_worker(scraped(pair), "http_server_request_duration_seconds_count", http_route="/metrics")
    assert set(counted) == {"0", "1"}


def workers_of(service: Refkeep) -> set[int]:
    """The processes that serve."""
    children = psutil.Process(service.process.pid).children()
    return {child.pid for child in children if child.name() != "postgres"}


def test_the_place_of_a_worker_that_was_killed_is_taken_by_the_next(pair: Refkeep) -> None:
    before = workers_of(pair)
    os.kill(min(before), signal.SIGKILL)

    def told() -> list[Sample]:
        try:
            return scraped(pair)
        except httpx.TransportError:  # of the one that was killed
            return []

    eventually(lambda: len(workers_of(pair) - before) == 1)
    eventually(lambda: {sample.labels["worker"] for sample in told()} == {"0", "1"})
    eventually(lambda: {sample.name for sample in told()} >= OF_THE_DATABASE)
