"""The SDK: what is exported, where to, and how it ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock, Thread
from time import monotonic
from typing import Final
from uuid import uuid4

import msgspec
import structlog
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.metrics.view import DropAggregation, View
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from prometheus_client import CollectorRegistry

from service.observability import connect
from service.telemetry.exposition import WORKER, Family, families_of, merged, rendered
from service.telemetry.logs import LogFormat, configure_logs
from service.telemetry.tallies import PushingReader, ScrapedReader, Tallies, are_wanted, is_disabled
from service.telemetry.variables import leave_out_unusable

_UNUSED_METRICS: Final = (
    "http.server.request.body.size",
    "http.server.response.body.size",
    "http.server.active_requests",
)


_TOLD: Final = msgspec.msgpack.Decoder(list[Family])


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The running SDK of one worker."""

    tracer_provider: TracerProvider
    meter_provider: MeterProvider
    scraped: ScrapedReader
    registry: CollectorRegistry
    exporters: Sequence[OTLPSpanExporter | OTLPMetricExporter]
    _one_at_a_time: Lock

    def told(self) -> bytes:
        """This worker's metrics, for another one; from any thread."""
        return msgspec.msgpack.encode(self._families())

    def render_metrics(self, accept: str = "", others: Iterable[bytes] = ()) -> tuple[bytes, str]:
        """Return metrics as Prometheus reads them and their content type, for that `Accept` header; from any thread.

        `others` are what other workers have told.
        """
        return rendered(merged([self._families(), *map(_TOLD.decode, others)]), accept)

    def shutdown(self, seconds: float = 3.0) -> None:
        """Flush what waits, within `seconds` even if the collector hangs; blocks, so call it off the event loop."""
        if _run_within(seconds, self.tracer_provider.shutdown, self.meter_provider.shutdown):
            return
        for exporter in self.exporters:
            exporter.shutdown()  # breaks off what pauses between two attempts

    def _families(self) -> list[Family]:
        with self._one_at_a_time:
            return families_of([*self.registry.collect()], self.scraped.latest)


def start_telemetry(
    *,
    log_format: LogFormat = "json",
    log_level: str = "info",
    worker: str | None = None,
    service_version: str = "unknown",
) -> Telemetry:
    """Set up logs, spans and metrics of this process; call it after the fork, once per worker.

    `worker` labels its metrics (default: the process id), beside a `service.instance.id` made up here: collectors take
    points of several senders for one's otherwise. The standard `OTEL_*` variables hold; spans and metrics leave
    over OTLP (http/protobuf) only when an endpoint is set. Exporters work in threads of their own with bounded queues.
    """
    log = configure_logs(log_format, log_level)
    for each in leave_out_unusable(os.environ):
        structlog.get_logger("refkeep").warning("otel_variable_left_out", variable=each.variable, says=str(each))
    resource = _resource(worker or str(os.getpid()), service_version)
    is_traced = _is_exported("TRACES")
    # What nobody will see is not recorded: a tenth of a millisecond of each request. Trace ids go on all the same.
    tracer_provider = TracerProvider(None if is_traced else ALWAYS_OFF, resource, shutdown_on_exit=False)
    exporters: list[OTLPSpanExporter | OTLPMetricExporter] = []
    if is_traced:
        exporters.append(traces := OTLPSpanExporter())
        tracer_provider.add_span_processor(BatchSpanProcessor(traces))
    registry, tallies = CollectorRegistry(), Tallies(resource)
    scraped = _scraped_reader(registry, tallies)
    readers: list[MetricReader] = [scraped]
    if _is_exported("METRICS"):
        exporters.append(metrics := OTLPMetricExporter())
        readers.append(_pushing_reader(metrics, tallies))
    meter_provider = MeterProvider(
        metric_readers=readers,
        resource=resource,
        shutdown_on_exit=False,
        views=[View(instrument_name=name, aggregation=DropAggregation()) for name in _UNUSED_METRICS],
    )
    meter = meter_provider.get_meter("refkeep")
    connect(tracer_provider.get_tracer("refkeep"), meter, log, tallies if are_wanted() else meter)
    _warn_of_protocol()
    return Telemetry(tracer_provider, meter_provider, scraped, registry, exporters, Lock())


def _resource(worker: str, service_version: str) -> Resource:
    attributes: dict[str, str] = {SERVICE_VERSION: service_version, WORKER: worker}
    if SERVICE_INSTANCE_ID not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        attributes[SERVICE_INSTANCE_ID] = str(uuid4())
    if "OTEL_SERVICE_NAME" not in os.environ and SERVICE_NAME not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        attributes[SERVICE_NAME] = "refkeep"
    return Resource.create(dict(attributes))


def _scraped_reader(registry: CollectorRegistry, tallies: Tallies) -> ScrapedReader:
    reader = ScrapedReader(
        registry=registry, scope_info_enabled=False, resource_attribute_filter=lambda name: name == WORKER
    )
    reader.tallies = tallies
    return reader


def _pushing_reader(exporter: OTLPMetricExporter, tallies: Tallies) -> PushingReader:
    reader = PushingReader(exporter)
    reader.tallies = tallies
    return reader


def _is_exported(signal: str) -> bool:
    """Say whether an OTLP endpoint is set for `TRACES` or `METRICS` and the signal not switched off."""
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    switched_off = os.environ.get(f"OTEL_{signal}_EXPORTER") == "none"
    return not switched_off and not is_disabled() and any(os.environ.get(name) for name in endpoints)


def _warn_of_protocol() -> None:
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if protocol != "http/protobuf":
        structlog.get_logger("refkeep").warning("otlp_protocol_unsupported", asked=protocol, used="http/protobuf")


def _run_within(seconds: float, *calls: Callable[[], None]) -> bool:
    """Run blocking calls side by side; False where some take longer, which are left to die with the process."""
    threads = [Thread(target=call, daemon=True) for call in calls]
    deadline = monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
    return not any(thread.is_alive() for thread in threads)
