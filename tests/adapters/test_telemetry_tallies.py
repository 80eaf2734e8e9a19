"""What tallies count is what the SDK's histograms would have."""

# ruff: noqa: TID251 - the tests' own set-up of the SDK
from __future__ import annotations

from random import Random
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import set_span_in_context

from service.telemetry.sdk import start_telemetry
from service.telemetry.tallies import Tallies
from tests.logging_state import logging_restored

BOUNDS = (0.001, 0.01, 0.1, 1.0)
NAME = "media.operation.duration"


def points(data: MetricsData | None) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """By their labels."""
    assert data is not None
    [metric] = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == NAME]
    found: list[Any] = [*metric.data.data_points]
    return {tuple(sorted(point.attributes.items())): counted(point) for point in found}


def counted(point: Any) -> tuple[Any, ...]:
    return point.count, point.sum, tuple(point.bucket_counts), tuple(point.explicit_bounds), point.min, point.max


def made(maker: Any) -> Any:
    return maker.create_histogram(NAME, "s", "One use case.", explicit_bucket_boundaries_advisory=BOUNDS)


def test_a_tally_counts_as_the_sdk_does() -> None:
    rng, reader, tallies = Random(5), InMemoryMetricReader(), Tallies(Resource.create({}))
    theirs, ours = made(MeterProvider([reader]).get_meter("refkeep")), made(tallies)
    for _ in range(2000):
        amount = rng.choice([rng.expovariate(10), *BOUNDS, 0.0])
        labels = {"operation": rng.choice(["a", "b"]), "outcome": rng.choice(["success", "error"])}
        theirs.record(amount, labels)
        ours.record(amount, labels)
    assert points(tallies.added_to(None)) == points(reader.get_metrics_data())


def test_points_of_one_name_and_equal_labels_become_one() -> None:
    reader, tallies = InMemoryMetricReader(), Tallies(Resource.create({}))
    theirs, ours = made(MeterProvider([reader]).get_meter("refkeep")), made(tallies)
    theirs.record(0.005, {"operation": "a"})
    ours.record(2.0, {"operation": "a"})
    ours.record(3.0, {"operation": "b"})
    assert points(tallies.added_to(reader.get_metrics_data())) == {
        (("operation", "a"),): (2, 2.005, (0, 1, 0, 0, 1), BOUNDS, 0.005, 2.0),
        (("operation", "b"),): (1, 3.0, (0, 0, 0, 0, 1), BOUNDS, 3.0, 3.0),
    }


@pytest.mark.parametrize(("sampler", "count"), [(ALWAYS_ON, 1), (ALWAYS_OFF, 0)])
def test_a_bucket_leads_to_the_latest_trace_that_is_kept(sampler: Sampler, count: int) -> None:
    tallies, tracer = Tallies(Resource.create({})), TracerProvider(sampler).get_tracer("refkeep")
    tally, spans = made(tallies), [tracer.start_span("a") for _ in range(2)]
    for span in spans:
        tally.record(0.5, {}, set_span_in_context(span))
    tally.record(0.5)
    [metric] = tallies.added_to(None).resource_metrics[0].scope_metrics[0].metrics
    [point] = metric.data.data_points
    assert isinstance(point, HistogramDataPoint)
    assert len(point.exemplars) == count
    assert all(each.trace_id == spans[1].get_span_context().trace_id for each in point.exemplars)


@pytest.mark.parametrize("kind", ["cumulative", "delta"])
def test_whatever_kind_is_asked_for_the_scraper_sees_the_same(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", kind)
    from service import observability  # noqa: PLC0415 - what is connected now
    from service.observability import connect, outlets  # noqa: PLC0415

    before = outlets()
    with logging_restored():
        telemetry = start_telemetry(log_level="critical", worker="w")
        try:
            observability.outlets().operations.record(0.004, {"operation": "blob.upload", "outcome": "success"})
            told = telemetry.render_metrics()[0].decode()
        finally:
            telemetry.shutdown()
            connect(before.tracer, before.meter, before.log)
    labels = 'operation="blob.upload",outcome="success"'
    assert f'media_operation_duration_seconds_bucket{{le="0.005",{labels},worker="w"}} 1.0' in told
    assert f'media_operation_duration_seconds_bucket{{le="0.0025",{labels},worker="w"}} 0.0' in told
