"""The browser's share of a trace: a page tells how long it waited, and we export that as a span of its own."""

# ruff: noqa: TID251, PLC0415 - this is another service than Refkeep, which sets up its own; what exports is heavy
from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from tests.consumers.shared.refusals import Refusal

_OLDEST_S = 3600.0
_Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e14)]


class PageSpan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One upload as the page saw it, by the browser's clock in milliseconds since 1970.

    `span_id` is the parent that its request named in `traceparent`; `status` is 0 where no answer came.
    """

    trace_id: Annotated[str, msgspec.Meta(pattern=r"^(?!0+\Z)[0-9a-f]{32}\Z")]
    span_id: Annotated[str, msgspec.Meta(pattern=r"^(?!0+\Z)[0-9a-f]{16}\Z")]
    began: _Milliseconds
    ended: _Milliseconds
    outcome: Literal["success", "refused", "broken", "cancelled"]
    status: Annotated[int, msgspec.Meta(ge=0, le=599)]
    bytes: Annotated[int, msgspec.Meta(ge=0, le=2**53)]


@dataclass(frozen=True)
class PageSpans:
    """Takes them from pages; `export` gets one that can be true."""

    export: Callable[[PageSpan], None]

    def take(self, span: PageSpan) -> None:
        """Pass it on. Anyone can send us anything: raises the refusal of what did not happen lately."""
        is_recent = abs(time.time() - span.ended / 1000) < _OLDEST_S
        if not is_recent or not 0 <= span.ended - span.began < _OLDEST_S * 1000:
            raise Refusal(400, "bad-span", "That was not just now.")
        self.export(span)


@contextmanager
def exported_page_spans(service: str) -> Iterator[PageSpans]:
    """Spans of pages, as `<service>-page`; they go nowhere without OTEL_EXPORTER_OTLP_ENDPOINT."""
    if "OTEL_EXPORTER_OTLP_ENDPOINT" not in os.environ:
        yield PageSpans(lambda _: None)
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource, processor = Resource.create({"service.name": f"{service}-page"}), BatchSpanProcessor(OTLPSpanExporter())
    try:
        yield PageSpans(lambda span: processor.on_end(_readable(span, resource)))
    finally:
        processor.shutdown()  # type: ignore[no-untyped-call]


def _readable(span: PageSpan, resource: Any) -> Any:
    """The span as the SDK exports it: the ids are the page's, which no tracer would give out."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    sampled = TraceFlags(TraceFlags.SAMPLED)
    told = {"outcome": span.outcome, "http.request.body.size": span.bytes, "http.response.status_code": span.status}
    return ReadableSpan(
        name="cover.upload",
        context=SpanContext(int(span.trace_id, 16), int(span.span_id, 16), is_remote=False, trace_flags=sampled),
        resource=resource,
        kind=SpanKind.CLIENT,
        attributes={name: value for name, value in told.items() if value or name == "outcome"},
        status=Status(StatusCode.UNSET if span.outcome in {"success", "cancelled"} else StatusCode.ERROR),
        start_time=int(span.began * 1e6),
        end_time=int(span.ended * 1e6),
    )
