"""One record per call: the span's attributes, the histogram's point and the log line are made from the same fields.

Names are those of contracts/telemetry.json. Only the OpenTelemetry API and structlog are used here and nothing of ours
is imported; `connect` says where spans, points and lines go.
"""

from service.observability.identity import correlation_id, request_id, trace_id
from service.observability.outcome import Fact, Layer, Outcome, classify, outcome_of_status
from service.observability.outlets import LineLog, Outlets, PoolState, RenderingState, connect, outlets
from service.observability.parts import timed, timed_stream
from service.observability.record import DOWNLOAD, UPLOAD, Observation, current, observe, observed
from service.observability.redaction import redact
from service.observability.request import RequestObservation, observe_request
from service.observability.routine import RoutineRequest

__all__ = [
    "DOWNLOAD",
    "UPLOAD",
    "Fact",
    "Layer",
    "LineLog",
    "Observation",
    "Outcome",
    "Outlets",
    "PoolState",
    "RenderingState",
    "RequestObservation",
    "RoutineRequest",
    "classify",
    "connect",
    "correlation_id",
    "current",
    "observe",
    "observe_request",
    "observed",
    "outcome_of_status",
    "outlets",
    "redact",
    "request_id",
    "timed",
    "timed_stream",
    "trace_id",
]
