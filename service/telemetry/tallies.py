"""Histograms that cost a microsecond a measurement: counted here, added to what the SDK's readers collect.

The SDK's own take twenty (attributes are cleaned, sorted and hashed each time), which was a quarter of the answer to a
request for a small blob.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import time_ns
from typing import Any, Final, TypeAlias

from opentelemetry.context import Context
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import get_current_span

Labels: TypeAlias = "Mapping[str, str | bool | int | float]"
Key: TypeAlias = "tuple[tuple[str, str | bool | int | float], ...]"

_SCOPE: Final = InstrumentationScope("refkeep")
_OTHER_KINDS: Final = {
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "cumulative",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "explicit_bucket_histogram",
    "OTEL_METRICS_EXEMPLAR_FILTER": "trace_based",
}


def are_wanted() -> bool:
    """Whether `OTEL_*` ask for histograms, and examples, as they are counted here, which is their default."""
    return not is_disabled() and all(os.environ.get(name, kind).lower() == kind for name, kind in _OTHER_KINDS.items())


def is_disabled() -> bool:
    """Whether `OTEL_SDK_DISABLED` asks for no telemetry; the SDK reads it in the same way."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


@dataclass(slots=True)
class _Point:
    """The measurements with the same labels, by bucket; beside each bucket its latest sampled one."""

    counts: list[int]
    sum: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")
    exemplars: dict[int, Exemplar] = field(default_factory=dict)


class Tally:
    """One histogram, for measurements from one thread; read from any."""

    def __init__(self, name: str, unit: str, description: str, bounds: Sequence[float]) -> None:
        self._about = {"name": name, "unit": unit, "description": description}
        self._bounds = tuple(bounds)
        self._points: dict[Key, _Point] = {}
        self._since = time_ns()

    def record(self, amount: float, attributes: Labels | None = None, context: Context | None = None) -> None:
        """Count a measurement, an exemplar where `context` has a sampled span. Equal labels come in the same order."""
        labels = tuple(attributes.items()) if attributes else ()
        point = self._points.get(labels)
        if point is None:
            point = self._points[labels] = _Point([0] * (len(self._bounds) + 1))
        bucket = bisect_left(self._bounds, amount)
        point.counts[bucket] += 1
        point.sum += amount
        point.least, point.most = min(point.least, amount), max(point.most, amount)
        if context is not None and (told := get_current_span(context).get_span_context()).trace_flags.sampled:
            point.exemplars[bucket] = Exemplar({}, amount, time_ns(), told.span_id, told.trace_id)

    def metric(self, now: int) -> Metric | None:
        """What was counted so far, None for nothing."""
        points = [self._data_point(labels, point, now) for labels, point in [*self._points.items()]]
        return Metric(**self._about, data=Histogram(points, AggregationTemporality.CUMULATIVE)) if points else None

    def _data_point(self, labels: Key, point: _Point, now: int) -> HistogramDataPoint:
        counts = [*point.counts]
        return HistogramDataPoint(
            attributes=dict(labels),
            start_time_unix_nano=self._since,
            time_unix_nano=now,
            count=sum(counts),
            sum=point.sum,
            bucket_counts=counts,
            explicit_bounds=self._bounds,
            min=point.least,
            max=point.most,
            exemplars=[*point.exemplars.values()],
        )


class Tallies:
    """All tallies of a process; makes them as a meter makes histograms."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._tallies: list[Tally] = []

    def create_histogram(
        self, name: str, unit: str, description: str, *, explicit_bucket_boundaries_advisory: Sequence[float]
    ) -> Tally:
        """Make one."""
        self._tallies.append(Tally(name, unit, description, explicit_bucket_boundaries_advisory))
        return self._tallies[-1]

    def added_to(self, collected: MetricsData | None) -> MetricsData:
        """What the SDK has collected, and what was counted here; points of one name stand under one metric."""
        now = time_ns()
        counted = {metric.name: metric for tally in self._tallies if (metric := tally.metric(now))}
        scopes = [scope for each in (collected.resource_metrics if collected else []) for scope in each.scope_metrics]
        merged = [_merged(scope, counted) for scope in scopes]
        # One entry for a resource and a scope: exporters keep the last of several.
        ours = next((scope for scope in merged if scope.scope.name == _SCOPE.name), ScopeMetrics(_SCOPE, [], ""))
        others = [scope for scope in merged if scope is not ours]
        ours = replace(ours, metrics=[*ours.metrics, *counted.values()])
        return MetricsData([ResourceMetrics(self._resource, [ours, *others], "")])


def _merged(scope: ScopeMetrics, counted: dict[str, Metric]) -> ScopeMetrics:
    """Move points out of `counted` to where the scope has points of their metric."""
    return replace(scope, metrics=[_joined(metric, counted.pop(metric.name, None)) for metric in scope.metrics])


def _joined(metric: Metric, more: Metric | None) -> Metric:
    if more is None:
        return metric
    points: dict[object, HistogramDataPoint] = {}
    for point in (*_points(metric), *_points(more)):
        key = tuple(sorted((point.attributes or {}).items()))
        points[key] = _summed(points[key], point) if key in points else point
    return replace(metric, data=Histogram([*points.values()], AggregationTemporality.CUMULATIVE))


def _points(metric: Metric) -> Sequence[HistogramDataPoint]:
    return metric.data.data_points  # type: ignore[return-value]


def _summed(one: HistogramDataPoint, other: HistogramDataPoint) -> HistogramDataPoint:
    """The measurements of both, which have the same labels and buckets."""
    return replace(
        one,
        count=one.count + other.count,
        sum=one.sum + other.sum,
        bucket_counts=[a + b for a, b in zip(one.bucket_counts, other.bucket_counts, strict=True)],
        min=min(one.min, other.min),
        max=max(one.max, other.max),
        exemplars=[*one.exemplars, *other.exemplars],
    )


class ScrapedReader(PrometheusMetricReader):
    """The reader of `/metrics`, with tallies; it keeps what it has read last, of which its exporter drops examples."""

    tallies: Tallies
    latest: MetricsData | None = None

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        self.latest = self.tallies.added_to(metrics_data)
        super()._receive_metrics(self.latest, timeout_millis, **kwargs)


class PushingReader(PeriodicExportingMetricReader):
    """The reader that sends over OTLP, with tallies."""

    tallies: Tallies

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        super()._receive_metrics(self.tallies.added_to(metrics_data), timeout_millis, **kwargs)
