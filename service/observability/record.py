"""The record itself, and the two ways to make one: `observed` around a coroutine, `observe` for what outlives it."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar, Token
from enum import Enum
from functools import wraps
from time import perf_counter
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar, cast

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode

from service.observability.identity import bound_request, trace_id
from service.observability.outcome import UNEXPECTED, Fact, Layer, Outcome, classify, sqlstate
from service.observability.outlets import outlets

UPLOAD: Final = "media.file.upload"
DOWNLOAD: Final = "media.file.download"
UPLOAD_PHASES: Final = ("receive", "parse", "hash", "storage", "db")
EVENTS: Final[Mapping[Layer, str]] = {
    "handler": "request_completed",
    "usecase": "usecase_completed",
    "repo": "repo_completed",
    "storage": "storage_completed",
}
_PART_OF_LAYER: Final[Mapping[Layer, str]] = {"repo": "db", "storage": "storage"}

P = ParamSpec("P")
R = TypeVar("R")
Record = Mapping[str, Fact]


class Observation:
    """One call under observation. The first `finish` or `fail` makes its record; whatever comes later is ignored.

    As a context manager it is current in its task, so that inner calls become its children: around awaits in a
    coroutine, never across a `yield`.
    """

    __slots__ = (
        "_context", "_failure", "_fields", "_open", "_parent", "_parts", "_request", "_started", "_token",
        "is_routine", "layer", "operation", "span",
    )  # fmt: skip

    def __init__(self, operation: str, layer: Layer, span: Span, fields: dict[str, Fact]) -> None:
        self.operation, self.layer, self.span = operation, layer, span
        self._fields, self._parts, self._open = fields, dict[str, float](), True
        self._parent, self._request = _current.get(), bound_request.get()
        self._failure: BaseException | None = None
        self.is_routine = False
        self._started = perf_counter()
        if self._is_upload:
            outlets().uploads += 1

    @property
    def _is_upload(self) -> bool:
        return self.operation == UPLOAD and self.layer == "usecase"

    def __enter__(self) -> Self:
        self._context = otel_context.attach(trace.set_span_in_context(self.span))
        self._token: Token[Observation | None] = _current.set(self)
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is not None:
            self.fail(error)
        _current.reset(self._token)
        otel_context.detach(self._context)

    def note(self, **facts: Fact) -> None:
        """Add facts that become span attributes and log fields."""
        self._fields.update(facts)

    def become(self, operation: str) -> None:
        """Name what the call turned out to be: a stream, whose inner layers go to DEBUG like those of delivery."""
        self.operation = operation
        if self._request is not None:
            self._request.quiet = True

    def note_failure(self, error: BaseException) -> None:
        """Remember the exception that this call answers for, so that the record tells its outcome and type."""
        self._failure = error

    def add(self, part: str, seconds: float) -> None:
        """Count `seconds` of this call as spent in `part` (receive, parse, hash, storage, db)."""
        self._parts[part] = self._parts.get(part, 0.0) + max(seconds, 0.0)

    def part_ms(self, part: str) -> float:
        """Return the milliseconds counted for `part` so far."""
        return milliseconds(self._parts.get(part, 0.0))

    def parts_total(self) -> float:
        """Return the seconds counted for any part so far."""
        return sum(self._parts.values())

    def finish(self, outcome: Outcome = "success", **facts: Fact) -> None:
        """End the call."""
        self._fields.update(facts)
        self._end(outcome, None)

    def fail(self, error: BaseException) -> None:
        """End the call by an exception, which classifies itself."""
        self._failure = error
        self._end(*classify(error))

    def _end(self, outcome: Outcome, error_type: str | None) -> None:
        if not self._open:
            return
        self._open = False
        seconds = perf_counter() - self._started
        record = self._record(outcome, error_type, seconds)
        self._point(record)
        write_attributes(self.span, record)
        self._write_line(record)
        self._hand_up(seconds)
        self._end_span()

    def _record(self, outcome: Outcome, error_type: str | None, seconds: float) -> dict[str, Fact]:
        record: dict[str, Fact] = {"operation": self.operation, "layer": self.layer, "outcome": outcome}
        record["duration_ms"] = milliseconds(seconds)
        if self._request is not None:
            record["correlation_id"] = self._request.correlation_id
        if (found := trace_id(self.span)) is not None:
            record["trace_id"] = found
        if error_type is not None or outcome == "error":
            record["error_type"] = error_type or UNEXPECTED
        self._add_layer_fields(record, seconds)
        record.update(self._fields)
        return record

    def _add_layer_fields(self, record: dict[str, Fact], seconds: float) -> None:
        if self.layer in _PART_OF_LAYER:
            part = _PART_OF_LAYER[self.layer]
            record[f"{part}_duration_ms"] = milliseconds(self._parts.get(part, seconds))
        if self.layer == "repo" and (code := sqlstate(self._failure)) is not None:
            record["db_error_code"] = code
        if self._is_upload:
            record.update({f"{phase}_ms": self.part_ms(phase) for phase in UPLOAD_PHASES})

    def _point(self, record: Record) -> None:
        """Record the point of the layer's histogram, of the record's own numbers."""
        example = self._example()
        if self.layer == "usecase":
            record_operation(record, example)
        elif self.layer == "repo":
            labels = {"db.system.name": "postgresql", "db.operation.name": self.operation} | _error_label(record)
            outlets().database.record(float(record["db_duration_ms"]) / 1000, labels, example)
        elif self.layer == "storage":
            labels = {"operation": self.operation, "backend": str(record.get("backend", "unknown"))}
            outlets().storage.record(
                float(record["duration_ms"]) / 1000, labels | _error_label(record, "error_type"), example
            )
        if self._is_upload:
            outlets().uploads -= 1
            for phase in UPLOAD_PHASES:
                outlets().upload_phases.record(float(record[f"{phase}_ms"]) / 1000, {"phase": phase}, example)

    def _example(self) -> Context | None:
        """What makes a point lead to this call's trace, where that is kept."""
        return trace.set_span_in_context(self.span) if self.span.is_recording() else None

    def _write_line(self, record: Record) -> None:
        quiet = self._request is not None and self._request.quiet and self.layer != "handler"
        usual = logging.DEBUG if self.is_routine else logging.INFO
        level = logging.DEBUG if quiet else logging.ERROR if record["outcome"] == "error" else usual
        stack = {} if quiet else self._traceback(record)
        outlets().log.log(level, EVENTS[self.layer], **record, **stack)

    def _traceback(self, record: Record) -> dict[str, str]:
        """The traceback of an unexpected error, on the first line of its request that tells of it and on no other."""
        error, request = self._failure, self._request
        if error is None or record.get("error_type") != UNEXPECTED or (request and request.reported is error):
            return {}
        if request is not None:
            request.reported = error
        return {"exception": "".join(traceback.format_exception(error))}

    def _hand_up(self, seconds: float) -> None:
        """Give the caller's record its share, so that a use case knows what its repositories and stores took."""
        if self._parent is None:
            return
        part = _PART_OF_LAYER.get(self.layer)
        shares = self._parts if part is None else {part: self._parts.get(part, seconds)}
        for name, share in shares.items():
            self._parent.add(name, share)

    def _end_span(self) -> None:
        if self.layer != "handler":
            self.span.end()


_current: ContextVar[Observation | None] = ContextVar("refkeep_observation", default=None)


def current() -> Observation | None:
    """Return the innermost call under observation in this task, None where there is none."""
    return _current.get()


def record_operation(record: Record, example: Context | None) -> None:
    """Record the point of a use case; `example` has its span where that is kept."""
    labels = {"operation": record["operation"], "outcome": record["outcome"]}
    outlets().operations.record(float(record["duration_ms"]) / 1000, labels, example)


def write_attributes(span: Span, record: Record) -> None:
    """Write the record on its span; beside it what the semantic conventions name for failures and databases."""
    if not span.is_recording():
        return
    span.set_attributes(record)
    if record["outcome"] == "error":
        span.set_attribute("error.type", record["error_type"])
        span.set_status(StatusCode.ERROR, str(record["error_type"]))
    if "db_error_code" in record:
        span.set_attribute("db.response.status_code", record["db_error_code"])


def _error_label(record: Record, name: str = "error.type") -> dict[str, str]:
    return {name: str(record["error_type"])} if record["outcome"] == "error" else {}


def milliseconds(seconds: float) -> float:
    """Return a duration as records tell it: to the microsecond."""
    return round(seconds * 1000, 3)


def observe(operation: str, *, layer: Layer, span_name: str | None = None, **facts: Fact) -> Observation:
    """Start a record whose end another call reports, as for a stream that outlives the call that opened it.

    `span_name` defaults to the operation, with `media.` in front of a use case's; a repository gives the summary of its
    statement (`SELECT blobs`). A handler has no span of its own: its facts stand on the server's.
    """
    around = trace.get_current_span()
    if layer == "handler" or _is_dropped(around):
        return Observation(operation, layer, around, facts)
    name = span_name or (f"media.{operation}" if layer == "usecase" else operation).replace("media.media.", "media.")
    kind = SpanKind.CLIENT if layer in _PART_OF_LAYER else SpanKind.INTERNAL
    span = outlets().tracer.start_span(name, kind=kind)
    if layer == "repo" and span.is_recording():
        span.set_attributes({"db.system.name": "postgresql", "db.query.summary": name})
    return Observation(operation, layer, span, facts)


def _is_dropped(span: Span) -> bool:
    """Whether nobody will see this span, nor any beneath it: then those need not be made."""
    context = span.get_span_context()
    return context.is_valid and not context.trace_flags.sampled


def observed(
    operation: str,
    *,
    layer: Layer,
    span_name: str | None = None,
    facts: Callable[[Any], Record] | None = None,
    routine: bool = False,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Observe every call of a coroutine function: the one line that a use case, repository or store pays.

    The record tells the exception, or of the result: its `decision` (use cases), its length as `row_count`
    (repositories; 0 for None, 1 for a single value) and what `facts(result)` returns; an `outcome` among these wins.
    A `routine` that an idle worker repeats all day writes its line at DEBUG, its errors as ever.
    Raises `TypeError` at decoration for anything but a coroutine function: a generator's span would end too early.
    """

    def decorate(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{function!r} is no coroutine function; a stream uses observe() and finish().")

        @wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with observe(operation, layer=layer, span_name=span_name) as observation:
                observation.is_routine = routine
                result = await function(*args, **kwargs)
                told = _tell(result, layer) | dict(facts(result) if facts else {})
                observation.finish(cast("Outcome", told.pop("outcome", "success")), **told)
                return result

        return call

    return decorate


def _tell(result: object, layer: Layer) -> dict[str, Fact]:
    if layer == "usecase" and (decision := getattr(result, "decision", None)) is not None:
        return {"decision": str(decision.value if isinstance(decision, Enum) else decision)}
    if layer == "repo":
        return {"row_count": len(result) if isinstance(result, list | tuple) else int(result is not None)}
    return {}
