"""Whether spans and metrics arrive where they are sent. A collector that is away harms nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

from service.commands.checkup.findings import Finding, ok, warning
from service.telemetry.variables import unusable

_SECONDS = 3.0
_SIGNALS = {"TRACES": "v1/traces", "METRICS": "v1/metrics"}


def look_at_collector() -> list[Finding]:
    """Findings `telemetry`. Sends an export without a single span; blocks for seconds."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return [ok("telemetry", "Switched off by OTEL_SDK_DISABLED.")]
    asked = dict(_endpoints())
    if not asked:
        return [
            *_left_out(),
            *_propagators(),
            ok("telemetry", "Nothing is exported: OTEL_EXPORTER_OTLP_ENDPOINT is not set. /metrics can be scraped."),
        ]
    return [
        *_left_out(),
        *_propagators(),
        *_protocol(),
        *(_sent(signal, urlsplit(url)) for signal, url in asked.items()),
    ]


def _endpoints() -> Iterator[tuple[str, str]]:
    """As the SDK reads them: the signal's own is taken as it is, the common one gets the signal's path."""
    common = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    for signal, path in _SIGNALS.items():
        own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
        if os.environ.get(f"OTEL_{signal}_EXPORTER") != "none" and (own or common):
            yield signal.lower(), own or f"{str(common).rstrip('/')}/{path}"


def _left_out() -> Iterator[Finding]:
    for each in unusable(os.environ):
        yield warning("telemetry", str(each), f"Set {each.variable} right, or unset it.")


def _propagators() -> Iterator[Finding]:
    from service.observability.propagation import unknown_propagators

    if unknown := unknown_propagators(os.environ):
        says = f"OTEL_PROPAGATORS names {', '.join(unknown)}, not installed here: headers of that kind are not read."
        yield warning("telemetry", says, "OTEL_PROPAGATORS=tracecontext,baggage")


def _protocol() -> Iterator[Finding]:
    asked = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if asked != "http/protobuf":
        says = f"OTEL_EXPORTER_OTLP_PROTOCOL is {asked}; http/protobuf is spoken."
        yield warning("telemetry", says, "unset OTEL_EXPORTER_OTLP_PROTOCOL, and send to the HTTP port (4318)")


def _sent(signal: str, url: SplitResult) -> Finding:
    where = url.netloc.rpartition("@")[2] or "no host"
    try:
        status = _status(url)
    except (OSError, HTTPException, ValueError) as error:
        says = f"No collector takes {signal} at {where}: {getattr(error, 'strerror', None) or type(error).__name__}."
        return warning("telemetry", says, "Start the collector, or correct OTEL_EXPORTER_OTLP_ENDPOINT.")
    if status >= 300:
        says = f"The collector at {where} answers {status} to {signal}."
        return warning("telemetry", says, "Correct OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS.")
    return ok("telemetry", f"The collector at {where} takes {signal}.")


def _status(url: SplitResult) -> int:
    from opentelemetry.util.re import parse_env_headers

    if url.scheme not in {"http", "https"}:
        raise ValueError("an address begins with http:// or https://")
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    headers = parse_env_headers(os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True)
    with closing(kind(url.hostname or "", url.port, timeout=_SECONDS)) as connection:
        connection.request("POST", url.path or "/", b"", {**headers, "Content-Type": "application/x-protobuf"})
        return connection.getresponse().status
