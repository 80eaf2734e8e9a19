"""A variable of OpenTelemetry with a wrong value is left out and told of: it never keeps a service from serving."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from service.telemetry.variables import leave_out_foreign, leave_out_unusable, unusable

QUEUE, BATCH = "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
WRONG = {
    QUEUE: "0",
    BATCH: "many",
    "OTEL_BSP_SCHEDULE_DELAY": "-1",
    "OTEL_BSP_EXPORT_TIMEOUT": "1e3",
    "OTEL_METRIC_EXPORT_INTERVAL": "0",
    "OTEL_METRIC_EXPORT_TIMEOUT": "nan",
    "OTEL_METRICS_EXEMPLAR_FILTER": "sometimes",
    "OTEL_TRACES_SAMPLER": "traceidratios",
    "OTEL_TRACES_SAMPLER_ARG": "1.5",
    "OTEL_SDK_DISABLED": "yes",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "10s",
    "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": "brotli",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "weekly",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "mean",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "x",
    "OTEL_SPAN_LINK_COUNT_LIMIT": "99999999999",
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS": "*",
}
STARTED = """
import os
from service.telemetry.variables import leave_out_foreign, leave_out_unusable
leave_out_foreign(os.environ)
leave_out_unusable(os.environ)
from service.telemetry.sdk import start_telemetry
start_telemetry().shutdown()
"""


def test_whatever_is_wrong_is_told_by_its_name_and_left_out() -> None:
    environ = {**WRONG, "PATH": "/bin", "OTEL_SERVICE_NAME": "media"}
    assert {each.variable for each in unusable(environ)} == set(WRONG)
    told = {each.variable: str(each) for each in leave_out_unusable(environ)}
    assert told[QUEUE] == f"{QUEUE} must be a whole number, 1 to 2147483647; '0' is not that, and is left out."
    assert environ == {"PATH": "/bin", "OTEL_SERVICE_NAME": "media"}
    assert leave_out_unusable(environ) == [], "once"


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"OTEL_METRICS_EXEMPLAR_FILTER": " Always_On "}, {"OTEL_METRICS_EXEMPLAR_FILTER": "always_on"}),
        ({"OTEL_BSP_SCHEDULE_DELAY": " "}, {}),
        ({QUEUE: "100"}, {QUEUE: "100", BATCH: "100"}),
        ({QUEUE: "100", BATCH: "20"}, {QUEUE: "100", BATCH: "20"}),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio"},
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1.0"},
        ),
        ({"OTEL_TRACES_SAMPLER_ARG": "0.01"}, {"OTEL_TRACES_SAMPLER_ARG": "0.01"}),
    ],
)
def test_what_can_be_used_is_spelled_as_the_sdk_does(given: dict[str, str], left: dict[str, str]) -> None:
    environ = dict(given)
    assert leave_out_unusable(environ) == []
    assert environ == left


def test_more_spans_at_once_than_may_wait_are_told() -> None:
    environ = {QUEUE: "100", BATCH: "200"}
    assert [str(each) for each in leave_out_unusable(environ)] == [
        f"{BATCH} must be 100 at most, as many as {QUEUE} lets wait; '200' is not that, and is left out."
    ]
    assert environ == {QUEUE: "100", BATCH: "100"}


def test_which_sdk_other_programs_load_is_not_read() -> None:
    environ = {"OTEL_PYTHON_TRACER_PROVIDER": "nothing", "OTEL_PYTHON_CONTEXT": "x", "OTEL_SERVICE_NAME": "media"}
    leave_out_foreign(environ)
    assert environ == {"OTEL_SERVICE_NAME": "media"}


def test_the_sdk_starts_with_all_that_is_wrong_at_once() -> None:
    exported = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_PYTHON_TRACER_PROVIDER": "nothing"}
    environ = {**os.environ, **WRONG, **exported}
    done = subprocess.run(
        [sys.executable, "-c", STARTED], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
