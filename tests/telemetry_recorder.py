"""What was recorded: spans, points and lines of the code under test, from the real SDK, kept in memory."""

# ruff: noqa: TID251 - the tests' own set-up of the SDK
from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service import observability
from service.telemetry.logs import configure_logs
from service.telemetry.tallies import Tallies
from tests.logging_state import logging_restored


@dataclass
class Recorder:
    """Reads back what went out."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)
    tallies: Tallies = field(default_factory=lambda: Tallies(Resource.create({})))
    stream: io.BytesIO = field(default_factory=io.BytesIO)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """Ended spans by name."""
        return {span.name: span for span in self.exporter.get_finished_spans()}

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Log lines in order."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def line(self, event: str, operation: str) -> dict[str, Any]:
        """Return the one line of this event and operation."""
        (found,) = [line for line in self.lines if (line["event"], line.get("operation")) == (event, operation)]
        return found

    @property
    def metrics(self) -> list[Metric]:
        """All metrics, collected anew."""
        data = self.tallies.added_to(self.reader.get_metrics_data())
        return [m for resource in data.resource_metrics for scope in resource.scope_metrics for m in scope.metrics]

    def points(self, metric: str) -> list[Any]:
        """Return the points of a metric, collected anew."""
        return [point for found in self.metrics if found.name == metric for point in found.data.data_points]

    def values(self, metric: str) -> list[float]:
        """Return the values of a counter."""
        return [point.value for point in self.points(metric)]

    def histogram(self, metric: str) -> dict[tuple[tuple[str, object], ...], tuple[int, float]]:
        """Return count and sum by sorted labels."""
        return {tuple(sorted(point.attributes.items())): (point.count, point.sum) for point in self.points(metric)}


@contextmanager
def recording(level: str = "debug") -> Iterator[Recorder]:
    """Connect a recorder for the time of a test."""
    recorder, before = Recorder(), observability.outlets()
    tracer_provider = TracerProvider(shutdown_on_exit=False)
    tracer_provider.add_span_processor(SimpleSpanProcessor(recorder.exporter))
    meter_provider = MeterProvider([recorder.reader], shutdown_on_exit=False)
    with logging_restored():
        log = configure_logs("json", level, recorder.stream)
        tracer, meter = tracer_provider.get_tracer("refkeep"), meter_provider.get_meter("refkeep")
        observability.connect(tracer, meter, log, recorder.tallies)
        yield recorder
    observability.connect(before.tracer, before.meter, before.log)
    tracer_provider.shutdown()
    meter_provider.shutdown()
