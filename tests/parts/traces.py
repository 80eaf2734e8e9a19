"""A story of requests, each in a trace of its own, and the spans that it left, as text."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.otlp_receiver import attributes

_VALUES = ("layer", "outcome", "error_type", "decision", "db_error_code", "row_count", "cache_hit", "range", "backend")
"""Fields whose values are the same at every run."""
_EVERY = ("operation", "duration_ms", "correlation_id", "trace_id")
"""Fields of every record, which say nothing in a picture of one."""
_REMEMBERED = "SELECT api_keys"
"""Keys are asked for every three seconds: whoever comes then has this span."""


@dataclass(frozen=True)
class Request:
    """What was asked, in which trace, and answered."""

    name: str
    trace: str
    parent: str
    answer: httpx.Response


@dataclass
class Story:
    """Asks one thing after the other; `http` sends no key."""

    http: httpx.Client
    key: str
    requests: list[Request] = field(default_factory=list)

    def ask(self, name: str, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask as the span of a caller that is traced; `key` is another one than usual, or None."""
        trace, parent = secrets.token_hex(16), secrets.token_hex(8)
        key = options.pop("key", self.key)
        own = {"traceparent": f"00-{trace}-{parent}-01"} | ({} if key is None else {"authorization": f"Bearer {key}"})
        answer = self.http.request(method, path, headers={**options.pop("headers", {}), **own}, **options)
        self.requests.append(Request(name, trace, parent, answer))
        return answer


def told(span: Span) -> dict[str, str]:
    """The attributes of a span."""
    return attributes(span.attributes)


def of_trace(spans: Iterable[Span], trace: str) -> list[Span]:
    """The spans of one trace, in the order of their beginnings."""
    return sorted((each for each in spans if each.trace_id.hex() == trace), key=lambda each: each.start_time_unix_nano)


def picture(request: Request, spans: Iterable[Span]) -> str:
    """The tree beneath the caller's span: names, the fields whose values never vary, the names of all others."""
    found = [span for span in of_trace(spans, request.trace) if span.name != _REMEMBERED]
    lines = [f"{request.name}: {request.answer.status_code}"]
    return "\n".join([*lines, *_beneath(bytes.fromhex(request.parent), found, 1)]) + "\n"


def _beneath(parent: bytes, spans: list[Span], depth: int) -> list[str]:
    lines = list[str]()
    for span in sorted((each for each in spans if each.parent_span_id == parent), key=lambda each: each.name):
        lines.append(f"{'    ' * depth}{span.name} · {_fields(told(span))}")
        lines += _beneath(span.span_id, spans, depth + 1)
    return lines


def _fields(found: Mapping[str, str]) -> str:
    values = [f"{name}={found[name]}" for name in _VALUES if name in found]
    ours = sorted(name for name in found if "." not in name and name not in (*_VALUES, *_EVERY))
    return " ".join([*values, *ours])
