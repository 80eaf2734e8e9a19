"""What the collector makes of spans for Prometheus, by deploy/collector/config.yaml, made here of received spans.

It stands in for a collector where none can be installed: the span metrics connector (its names, its labels, its
histogram) and the Prometheus exporter behind it. Sampling, batches and limits are not here.
"""

from __future__ import annotations

import re
from bisect import bisect_right, insort
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tests.otlp_receiver import Received, attributes

CONFIG: Final[dict[str, Any]] = yaml.safe_load((Path(__file__).parents[2] / "deploy/collector/config.yaml").read_text())
_OWN: Final = ("service.name", "span.name", "span.kind", "status.code")
_MILLISECONDS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_UNITS: Final = {"ms": "milliseconds", "s": "seconds"}


def _in_prometheus(name: str) -> str:
    return name.replace(".", "_")


@dataclass(eq=False)
class SpanMetrics(Collector):
    """Counts the spans that have been received until a scrape."""

    received: Received
    _counted: int = 0
    _taken: dict[tuple[str, ...], list[float]] = field(default_factory=dict)

    def collect(self) -> Iterator[Metric]:
        """The two metrics of the connector."""
        connector = CONFIG["connectors"]["span_metrics"]
        dimensions = [*_OWN, *(dimension["name"] for dimension in connector["dimensions"])]
        namespace, labels = _in_prometheus(connector["namespace"]), [_in_prometheus(name) for name in dimensions]
        bounds = [_bound(text) for text in connector["histogram"]["explicit"]["buckets"]]
        calls = CounterMetricFamily(f"{namespace}_calls", "Spans.", labels=labels)
        name = f"{namespace}_duration_{_UNITS[connector['histogram']['unit']]}"
        durations = HistogramMetricFamily(name, "How long they took.", labels=labels)
        self._count(dimensions)
        for values, taken in self._taken.items():
            calls.add_metric(values, len(taken))
            durations.add_metric(values, buckets=_buckets(bounds, taken), sum_value=sum(taken))
        yield from (calls, durations)

    def _count(self, dimensions: list[str]) -> None:
        """Note the milliseconds of new spans by their labels; what a span has not is empty: to Prometheus, absent."""
        new = self.received.spans[self._counted :]
        for span in new:
            facts = attributes(span.attributes) | self._own(span)
            values = tuple(facts.get(name, "") for name in dimensions)
            insort(self._taken.setdefault(values, []), (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6)
        self._counted += len(new)

    def _own(self, span: Span) -> dict[str, str]:
        code = Status.StatusCode.Name(span.status.code)
        own = (self.received.senders[span.span_id], span.name, Span.SpanKind.Name(span.kind), code)
        return dict(zip(_OWN, own, strict=True))


def _bound(text: str) -> float:
    """A duration as Go writes it, in milliseconds."""
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * _MILLISECONDS[unit]


def _buckets(bounds: list[float], taken: list[float]) -> list[tuple[str, float]]:
    """How many of the sorted times are no longer than each bound."""
    return [*((str(bound), float(bisect_right(taken, bound))) for bound in bounds), ("+Inf", float(len(taken)))]


@contextmanager
def exposed(received: Received) -> Iterator[int]:
    """Answer Prometheus meanwhile; the port."""
    registry = CollectorRegistry()
    registry.register(SpanMetrics(received))
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
