"""The ids that tie lines, spans and answers of one request together."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import Span

from service.observability.redaction import redact

_PRINTABLE: Final = re.compile(rb"[\x21-\x7e]{1,128}")


@dataclass(slots=True)
class RequestIdentity:
    """What all records of one request share; `quiet` sends its inner layers to DEBUG."""

    correlation_id: str
    quiet: bool = False
    reported: BaseException | None = None
    """The unexpected error whose traceback stands in a line already."""


bound_request: ContextVar[RequestIdentity | None] = ContextVar("refkeep_request", default=None)


def correlation_id() -> str | None:
    """Return the id of the request being served, None outside of requests."""
    request = bound_request.get()
    return None if request is None else request.correlation_id


def trace_id(span: Span | None = None) -> str | None:
    """Return the trace of `span` (default: the current one) as 32 hexadecimal digits, None where there is none."""
    context = (span or trace.get_current_span()).get_span_context()
    return f"{context.trace_id:032x}" if context.trace_id else None


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the caller's `X-Request-ID` if it is 1 to 128 printable characters and no secret, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _PRINTABLE.fullmatch(value):
            text = value.decode("ascii")
            if redact(text) == text:
                return text
    return secrets.token_hex(16)
