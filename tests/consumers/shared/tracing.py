"""Traces: the one that comes in goes on to Refkeep, and is exported where OTEL_EXPORTER_OTLP_ENDPOINT says so."""

# ruff: noqa: TID251, PLC0415 - this is another service than Refkeep, which sets up its own; what exports is heavy
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from opentelemetry import propagate, trace


@contextmanager
def tracing(service: str) -> Iterator[None]:
    """Export what is traced meanwhile; without a collector nothing is recorded, and traces go on all the same."""
    if "OTEL_EXPORTER_OTLP_ENDPOINT" not in os.environ:
        yield
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


@contextmanager
def calling(what: str) -> Iterator[str | None]:
    """A span around a call of another service; the `traceparent` (W3C Trace Context) to send, None without a trace."""
    with trace.get_tracer(__name__).start_as_current_span(what, kind=trace.SpanKind.CLIENT):
        yield current_traceparent()


def current_traceparent() -> str | None:
    """That of the span that is current, None without one."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")


@contextmanager
def following(what: str, traceparents: Iterable[str | None]) -> Iterator[None]:
    """A span around what events cause here, linked to the requests at Refkeep that they tell of.

    Linked, not a child: a page has events of many traces, and may be read long after they ended.
    """
    links = [trace.Link(found) for each in traceparents if (found := _context_of(each)).is_valid]
    with trace.get_tracer(__name__).start_as_current_span(what, kind=trace.SpanKind.CONSUMER, links=links):
        yield


def _context_of(traceparent: str | None) -> trace.SpanContext:
    context = propagate.extract({} if traceparent is None else {"traceparent": traceparent})
    return trace.get_current_span(context).get_span_context()
