"""PromQL of Refkeep's metrics and of the collector's span metrics, whose names stand in contracts/telemetry.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WINDOW: Final = "$__rate_interval"
"""Grafana's own: four scrapes at least."""

METRICS: Final = 'job=~"$job"'
SPANS_OF: Final = 'service_name=~"$service"'


@dataclass(frozen=True, slots=True)
class Histogram:
    """A histogram as Prometheus has it; `scope` is the matcher that every question about it shares."""

    name: str
    scope: str = METRICS

    def rate(self, *matchers: str, by: str = "") -> str:
        """How many a second."""
        return self._summed("count", matchers, by)

    def time(self, *matchers: str, by: str = "") -> str:
        """What they took together, for each second that went by."""
        return self._summed("sum", matchers, by)

    def mean(self, *matchers: str, by: str = "") -> str:
        """What one of them takes."""
        return f"{self.time(*matchers, by=by)} / {self.rate(*matchers, by=by)}"

    def quantile(self, share: float, *matchers: str, by: str = "") -> str:
        """What `share` of them stay below."""
        return f"histogram_quantile({share}, {self._summed('bucket', matchers, ', '.join(filter(None, ['le', by])))})"

    def above(self, bound: str, *matchers: str) -> str:
        """The share that took longer than `bound`, one of its buckets, as `1.0`."""
        within = self._summed("bucket", (*matchers, f'le="{bound}"'), "")
        return f"1 - {within} / {self.rate(*matchers)}"

    def _summed(self, part: str, matchers: tuple[str, ...], by: str) -> str:
        return summed(f"{self.name}_{part}", self.scope, *matchers, by=by)


def summed(counter: str, *matchers: str, by: str = "") -> str:
    """The rate of a counter, all workers together."""
    grouped = f"sum by ({by})" if by else "sum"
    return f"{grouped} (rate({counter}{{{', '.join(matchers)}}}[{WINDOW}]))"


def highest(gauge: str, by: str = "") -> str:
    """A gauge that every worker measures for all of them: the highest."""
    return f"max{f' by ({by})' if by else ''} ({gauge}{{{METRICS}}})"


def or_none(expression: str) -> str:
    """0 where there is nothing: errors that have never happened."""
    return f"({expression} or vector(0))"


REQUESTS: Final = Histogram("http_server_request_duration_seconds")
OPERATIONS: Final = Histogram("media_operation_duration_seconds")
PHASES: Final = Histogram("media_upload_phase_duration_seconds")
STORAGE: Final = Histogram("media_storage_duration_seconds")
RENDERING: Final = Histogram("media_rendering_duration_seconds")
DATABASE: Final = Histogram("db_client_operation_duration_seconds")
POOL_WAIT: Final = Histogram("db_client_connection_wait_time_seconds")
LOOP_LAG: Final = Histogram("asyncio_eventloop_lag_seconds")
SPANS: Final = Histogram("traces_span_metrics_duration_milliseconds", SPANS_OF)

DOWNLOAD: Final = 'operation="media.file.download"'
UPLOAD: Final = 'operation="media.file.upload"'
OPEN: Final = 'operation="media.storage.open"'
PUT: Final = 'operation="media.storage.put"'
DELETE: Final = 'operation="media.storage.delete"'
SENT: Final = 'outcome="success"'
FAILED: Final = 'outcome="error"'
ABANDONED: Final = 'outcome="client_aborted"'
HANDLER: Final = 'layer="handler"'
USE_CASE: Final = 'layer="usecase"'
