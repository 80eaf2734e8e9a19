"""Where records go: one tracer, one instrument per metric, one logger."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, runtime_checkable

from opentelemetry import metrics, trace
from opentelemetry.context import Context

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0)
_HTTP_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""The buckets that the semantic conventions recommend."""


@dataclass(frozen=True, slots=True)
class PoolState:
    """Connections of a pool: those that somebody has, those that wait for somebody, and how many there may be."""

    used: int
    idle: int
    most: int


@dataclass(frozen=True, slots=True)
class RenderingState:
    """Pictures that are being made, and those that wait for their turn."""

    running: int
    waiting: int


class LineLog(Protocol):
    """The part of a structlog logger that records use."""

    def log(self, level: int, event: str, **fields: object) -> object:
        """Write one line."""


LineWriter = Callable[..., object]
"""Called with the fields of a line that were not known beforehand."""


@runtime_checkable
class PreparedLog(Protocol):
    """A log that can write a part of its lines beforehand."""

    def prepare(self, level: int, event: str, **fields: object) -> LineWriter:
        """Return what writes lines with these fields; others it is given must be no text from outside."""


def prepared(log: LineLog, level: int, event: str, **fields: object) -> LineWriter:
    """Return what writes lines that have these fields and those that it is called with."""
    if isinstance(log, PreparedLog):
        return log.prepare(level, event, **fields)
    return partial(log.log, level, event, **fields)


class Recorder(Protocol):
    """The part of a histogram that records use."""

    def record(
        self,
        amount: float,
        attributes: Mapping[str, str | bool | int | float] | None = None,
        context: Context | None = None,
    ) -> None:
        """Take one measurement, in the histogram's unit; `context` has the span that it is an example of."""


class HistogramMaker(Protocol):
    """The part of a meter that makes histograms."""

    def create_histogram(
        self, name: str, unit: str, description: str, *, explicit_bucket_boundaries_advisory: Sequence[float]
    ) -> Recorder:
        """Make one."""


class Outlets:
    """The instruments of contracts/telemetry.json beside the tracer and the logger; durations are in seconds."""

    def __init__(
        self, tracer: trace.Tracer, meter: metrics.Meter, log: LineLog, histograms: HistogramMaker | None = None
    ) -> None:
        self.tracer, self.meter, self.log = tracer, meter, log
        self._histograms = histograms or meter
        self.requests = self._durations(
            "http.server.request.duration", "Duration of HTTP server requests.", _HTTP_SECONDS
        )
        self.operations = self._durations("media.operation.duration", "One use case.")
        self.upload_phases = self._durations("media.upload.phase.duration", "The share of a phase in an upload.")
        self.storage = self._durations("media.storage.duration", "One storage call, to its last byte.")
        self.database = self._durations("db.client.operation.duration", "One repository call.")
        self.pool_wait = self._durations("db.client.connection.wait_time", "Until the pool gave a connection.")
        self.loop_lag = self._durations("asyncio.eventloop.lag", "How late the event loop came to a timer.")
        self.rendering = self._durations(
            "media.rendering.duration", "One picture made, the wait for its turn included."
        )
        self.renderings: Callable[[], RenderingState] | None = None
        self.pool: Callable[[], PoolState] | None = None
        self.downloaded_bytes = self.uploads = 0
        self._watch_pool(meter)
        meter.create_observable_up_down_counter(
            "media.rendering.tasks", [self._tasks], "{task}", "Pictures that are being made, or wait for their turn."
        )
        meter.create_observable_counter("media.download.bytes", [self._downloaded], "By", "Bytes of blobs sent.")
        meter.create_observable_up_down_counter(
            "media.upload.in_flight", [self._uploads_under_way], "{upload}", "Uploads under way."
        )
        self.gc_backlog = meter.create_gauge(
            "media.gc.backlog", "{item}", "What is due to be collected and still there."
        )
        self.collected = meter.create_counter(
            "media.gc.collected", "{item}", "What this worker's rounds of collecting have done."
        )
        self.events_lag = meter.create_gauge(
            "media.events.lag", "s", "How long the oldest committed event has waited for an older transaction to end."
        )
        self.integrity_failures = meter.create_gauge(
            "media.integrity.failures", "{blob}", "Blobs whose bytes are marked missing or corrupt."
        )

    def _watch_pool(self, meter: metrics.Meter) -> None:
        self.pool_timeouts = meter.create_counter(
            "db.client.connection.timeouts", "{timeout}", "How often the pool had no connection in time."
        )
        meter.create_observable_up_down_counter(
            "db.client.connection.count", [self._connections], "{connection}", "Connections of the pool that are open."
        )
        meter.create_observable_up_down_counter(
            "db.client.connection.max", [self._most_connections], "{connection}", "Connections that the pool may open."
        )

    def _connections(self, _: metrics.CallbackOptions) -> list[metrics.Observation]:
        if self.pool is None:
            return []
        state = self.pool()
        counts = {"used": state.used, "idle": state.idle}
        return [metrics.Observation(count, {"db.client.connection.state": name}) for name, count in counts.items()]

    def _tasks(self, _: metrics.CallbackOptions) -> list[metrics.Observation]:
        if self.renderings is None:
            return []
        state = self.renderings()
        counts = {"running": state.running, "waiting": state.waiting}
        return [metrics.Observation(count, {"state": name}) for name, count in counts.items()]

    def _most_connections(self, _: metrics.CallbackOptions) -> list[metrics.Observation]:
        return [] if self.pool is None else [metrics.Observation(self.pool().most)]

    def _downloaded(self, _: metrics.CallbackOptions) -> list[metrics.Observation]:
        """Read when metrics are collected: counting here costs the hot path nothing."""
        return [metrics.Observation(self.downloaded_bytes)]

    def _uploads_under_way(self, _: metrics.CallbackOptions) -> list[metrics.Observation]:
        return [metrics.Observation(self.uploads)]

    def _durations(self, name: str, description: str, bounds: Sequence[float] = _SECONDS) -> Recorder:
        return self._histograms.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=bounds)


class _FirstLines:
    """Lines before anybody has said where they go; most processes of commands end without having written one."""

    def log(self, level: int, event: str, **fields: object) -> None:
        """Write one line."""
        import structlog  # noqa: PLC0415 - takes longer to import than most of what a command does

        structlog.get_logger("refkeep").log(level, event, **fields)


_outlets = Outlets(trace.get_tracer("refkeep"), metrics.get_meter("refkeep"), _FirstLines())


def connect(
    tracer: trace.Tracer, meter: metrics.Meter, log: LineLog, histograms: HistogramMaker | None = None
) -> Outlets:
    """Send every record from now on to these; before the first call they go to OpenTelemetry's no-op defaults.

    `histograms` makes those of the metrics that are durations, the meter does when None.
    """
    global _outlets  # noqa: PLW0603 - decorators stand at import, where records go is known at start-up only
    _outlets = Outlets(tracer, meter, log, histograms)
    return _outlets


def outlets() -> Outlets:
    """Return what `connect` made last."""
    return _outlets
