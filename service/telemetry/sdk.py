"""The SDK: what is exported, where to, and how it ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from time import monotonic
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.metrics.view import DropAggregation, View
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from service.observability import connect
from service.telemetry.logs import LogFormat, configure_logs
from service.telemetry.tallies import PushingReader, ScrapedReader, Tallies, are_wanted

WORKER: Final = "worker"
"""The resource attribute and metric label that tells workers of one host apart."""

_UNUSED_METRICS: Final = (
    "http.server.request.body.size",
    "http.server.response.body.size",
    "http.server.active_requests",
)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The running SDK of one worker."""

    tracer_provider: TracerProvider
    meter_provider: MeterProvider
    registry: CollectorRegistry

    def render_metrics(self, accept: str = "") -> tuple[bytes, str]:
        """Return this worker's metrics as Prometheus reads them and their content type, for that `Accept` header."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def shutdown(self, seconds: float = 3.0) -> None:
        """Flush what waits, within `seconds` even if the collector hangs; blocks, so call it off the event loop."""
        _run_within(seconds, self.tracer_provider.shutdown, self.meter_provider.shutdown)


def start_telemetry(
    *,
    log_format: LogFormat = "json",
    log_level: str = "info",
    worker: str | None = None,
    service_version: str = "unknown",
) -> Telemetry:
    """Set up logs, spans and metrics of this process; call it after the fork, once per worker.

    `worker` labels its metrics (default: the process id). The standard `OTEL_*` variables hold; spans and metrics leave
    over OTLP (http/protobuf) only when an endpoint is set. Exporters work in threads of their own with bounded queues.
    """
    log = configure_logs(log_format, log_level)
    resource = _resource(worker or str(os.getpid()), service_version)
    tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    if _is_exported("TRACES"):
        tracer_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    registry, tallies = CollectorRegistry(), Tallies(resource)
    meter_provider = MeterProvider(
        metric_readers=_readers(registry, tallies),
        resource=resource,
        shutdown_on_exit=False,
        views=[View(instrument_name=name, aggregation=DropAggregation()) for name in _UNUSED_METRICS],
    )
    meter = meter_provider.get_meter("refkeep")
    connect(tracer_provider.get_tracer("refkeep"), meter, log, tallies if are_wanted() else meter)
    _warn_of_protocol()
    return Telemetry(tracer_provider, meter_provider, registry)


def _resource(worker: str, service_version: str) -> Resource:
    attributes: dict[str, str] = {SERVICE_VERSION: service_version, WORKER: worker}
    if "OTEL_SERVICE_NAME" not in os.environ and SERVICE_NAME not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        attributes[SERVICE_NAME] = "refkeep"
    return Resource.create(dict(attributes))


def _readers(registry: CollectorRegistry, tallies: Tallies) -> list[MetricReader]:
    scraped = ScrapedReader(
        registry=registry, scope_info_enabled=False, resource_attribute_filter=lambda name: name == WORKER
    )
    scraped.tallies = tallies
    readers: list[MetricReader] = [scraped]
    if _is_exported("METRICS"):
        pushing = PushingReader(OTLPMetricExporter())
        pushing.tallies = tallies
        readers.append(pushing)
    return readers


def _is_exported(signal: str) -> bool:
    """Say whether an OTLP endpoint is set for `TRACES` or `METRICS` and the signal not switched off."""
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    switched_off = os.environ.get(f"OTEL_{signal}_EXPORTER") == "none" or os.environ.get("OTEL_SDK_DISABLED") == "true"
    return not switched_off and any(os.environ.get(name) for name in endpoints)


def _warn_of_protocol() -> None:
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if protocol != "http/protobuf":
        structlog.get_logger("refkeep").warning("otlp_protocol_unsupported", asked=protocol, used="http/protobuf")


def _run_within(seconds: float, *calls: Callable[[], None]) -> None:
    """Run blocking calls side by side and leave those that take longer to die with the process."""
    threads = [Thread(target=call, daemon=True) for call in calls]
    deadline = monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
