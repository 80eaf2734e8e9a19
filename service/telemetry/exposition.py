"""What a scraper reads: the metrics of every worker together, with the traces that they are examples of."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from math import isinf
from typing import Any, Final, TypeAlias

import msgspec
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import Histogram, HistogramDataPoint, MetricsData
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as ScrapedExemplar
from prometheus_client.samples import Sample as ScrapedSample

WORKER: Final = "worker"
"""The resource attribute and metric label that tells workers of one host apart."""

_Key: TypeAlias = "tuple[str, frozenset[tuple[str, str]], str]"
"""The name of a histogram, its labels, and the upper bound of a bucket."""


class Example(msgspec.Struct, frozen=True, array_like=True):
    """A measurement that was traced; `seconds` since 1970."""

    labels: dict[str, str]
    value: float
    seconds: float


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One line."""

    name: str
    labels: dict[str, str]
    value: float
    example: Example | None = None


class Family(msgspec.Struct, frozen=True, array_like=True):
    """All samples of one metric."""

    name: str
    documentation: str
    kind: str
    unit: str
    samples: list[Sample]


def families_of(collected: Iterable[Metric], data: MetricsData | None) -> list[Family]:
    """What the exporter made of `data`, with the examples that it leaves out, and bounds written in one way."""
    examples = {} if data is None else _examples(data)
    return [
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            metric.unit,
            [_sample(metric, sample, examples) for sample in metric.samples],
        )
        for metric in collected
    ]


def _sample(metric: Metric, sample: ScrapedSample, examples: Mapping[_Key, Example]) -> Sample:
    if not sample.name.endswith("_bucket"):
        return Sample(sample.name, dict(sample.labels), sample.value)
    bound = _written(float(sample.labels["le"]))
    told = frozenset((name, text) for name, text in sample.labels.items() if text and name not in {"le", WORKER})
    example = examples.get((metric.name.removesuffix(f"_{metric.unit}"), told, bound))
    return Sample(sample.name, {**sample.labels, "le": bound}, sample.value, example)


def _examples(data: MetricsData) -> dict[_Key, Example]:
    metrics = (metric for each in data.resource_metrics for scope in each.scope_metrics for metric in scope.metrics)
    found: dict[_Key, Example] = {}
    for metric in metrics:
        points = metric.data.data_points if isinstance(metric.data, Histogram) else ()
        for point in points:
            labels = frozenset((_sanitized(name), str(value)) for name, value in (point.attributes or {}).items())
            for exemplar in sorted(point.exemplars, key=lambda each: each.time_unix_nano):
                found[_sanitized(metric.name), labels, _bound(point, exemplar)] = _example(exemplar)
    return found


def _sanitized(name: str) -> str:
    return name.replace(".", "_")


def _bound(point: HistogramDataPoint, exemplar: Exemplar) -> str:
    bounds = (*point.explicit_bounds, float("inf"))
    return _written(float(bounds[bisect_left(point.explicit_bounds, exemplar.value)]))


def _written(bound: float) -> str:
    return "+Inf" if isinf(bound) else str(bound)


def _example(exemplar: Exemplar) -> Example:
    ids = {"trace_id": f"{exemplar.trace_id or 0:032x}", "span_id": f"{exemplar.span_id or 0:016x}"}
    return Example(ids, exemplar.value, exemplar.time_unix_nano / 1e9)


def merged(workers: Iterable[Iterable[Family]]) -> list[Family]:
    """One family for each name: a scraper reads every line of a metric beneath one heading."""
    found: dict[str, Family] = {}
    for families in workers:
        for family in families:
            if family.name in found:
                found[family.name].samples.extend(family.samples)
            else:
                found[family.name] = msgspec.structs.replace(family, samples=[*family.samples])
    return [*found.values()]


def rendered(families: Iterable[Family], accept: str) -> tuple[bytes, str]:
    """The text in the form that an `Accept` header asks for, and its content type; OpenMetrics alone has examples."""
    encode, content_type = choose_encoder(accept)
    return encode(_Collected(families)), content_type


class _Collected(Collector):
    """Families as the encoders ask for them."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Yield them."""
        for family in self._families:
            metric = Metric(family.name, family.documentation, family.kind, family.unit)
            metric.samples = [_scraped(sample) for sample in family.samples]
            yield metric


def _scraped(sample: Sample) -> Any:
    told = sample.example
    example = None if told is None else ScrapedExemplar(told.labels, told.value, told.seconds)
    return ScrapedSample(sample.name, sample.labels, sample.value, None, example)
