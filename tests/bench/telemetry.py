"""Refkeep whose telemetry a collector takes, and Refkeep with other telemetry: none, all of it, sent to one that hangs.

Off is `OTEL_SDK_DISABLED=true`: no spans, no metrics. All of them write log lines, which nothing switches off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

from tests.bench.peers import Peer, refkeep
from tests.bench.rows import HANGING, REFKEEP, SILENT, TRACING
from tests.otlp_receiver import hanging_receiver

_SAMPLED = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}


def _silent(folder: Path) -> AbstractContextManager[Peer]:
    return refkeep(folder, SILENT, {"OTEL_SDK_DISABLED": "true"})


@contextlib.contextmanager
def _exporting(folder: Path) -> Iterator[Peer]:
    """One trace in a hundred, and metrics."""
    with _collector() as endpoint, refkeep(folder, REFKEEP, {**_SAMPLED, **_to(endpoint)}) as peer:
        yield peer


@contextlib.contextmanager
def _tracing(folder: Path) -> Iterator[Peer]:
    """Every trace: what is shipped where nobody says otherwise. What the queue has no room for is dropped."""
    with _collector() as endpoint, refkeep(folder, TRACING, _to(endpoint)) as peer:
        yield peer


@contextlib.contextmanager
def _hanging(folder: Path) -> Iterator[Peer]:
    with hanging_receiver() as endpoint, refkeep(folder, HANGING, _to(endpoint)) as peer:
        yield peer


VARIANTS: Final[Mapping[str, Callable[[Path], AbstractContextManager[Peer]]]] = {
    SILENT: _silent,
    REFKEEP: _exporting,
    TRACING: _tracing,
    HANGING: _hanging,
}


def _to(endpoint: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "15000"}


class _Taking(BaseHTTPRequestHandler):
    """Takes what comes and looks at none of it: the load shares its processor."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _collector() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Taking) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
