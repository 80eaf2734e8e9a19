"""A collector: takes OTLP over HTTP on the loopback interface, or takes connections and never answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Received:
    """All that came in at `endpoint`."""

    endpoint: str
    spans: list[Span] = field(default_factory=list)
    senders: dict[bytes, str] = field(default_factory=dict)
    """By the id of each span: the service that sent it."""
    resources: list[dict[str, str]] = field(default_factory=list)
    metrics: set[str] = field(default_factory=set)

    def take_traces(self, body: bytes) -> None:
        """Keep the spans of one export."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(attributes(resource.resource.attributes))
            spans = [span for scope in resource.scope_spans for span in scope.spans]
            self.senders |= dict.fromkeys([span.span_id for span in spans], self.resources[-1]["service.name"])
            self.spans += spans

    def take_metrics(self, body: bytes) -> None:
        """Keep the names of one export."""
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            self.metrics |= {metric.name for scope in resource.scope_metrics for metric in scope.metrics}


def attributes(pairs: object) -> dict[str, str]:
    """Return attributes as text."""
    found: list[KeyValue] = list(pairs)  # type: ignore[call-overload]
    return {pair.key: str(getattr(pair.value, pair.value.WhichOneof("value") or "string_value")) for pair in found}


@contextmanager
def otlp_receiver() -> Iterator[Received]:
    """Receive until the end of the block."""
    received = Received("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            (received.take_traces if self.path == "/v1/traces" else received.take_metrics)(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received.endpoint = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield received
        server.shutdown()


@contextmanager
def hanging_receiver() -> Iterator[str]:
    """Return the address of a collector that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
