"""One line per record on one stream, JSON or for a console; the standard library's loggers write the same lines."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from threading import Lock
from time import time
from typing import Any, BinaryIO, Final, Literal

import msgspec
import structlog

from service.observability import LineLog, correlation_id, redact, trace_id
from service.observability.redaction import MARKERS

LogFormat = Literal["json", "console"]
Event = MutableMapping[str, Any]
"""structlog's own shape of a line on its way through processors."""

_MARKERS: Final = tuple(marker.encode() for marker in MARKERS)
_LEVELS: Final = {
    level: logging.getLevelName(level).lower() for level in range(logging.DEBUG, logging.CRITICAL + 1, 10)
}
_ENCODER: Final = msgspec.json.Encoder(enc_hook=str)


class LineWriter:
    """Writes whole lines; a stream that takes no more (full disk, reader gone) loses lines, never a request."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._lock = stream, Lock()
        self.lost = 0

    def msg(self, line: bytes) -> None:
        """Write `line` and its end at once."""
        with self._lock:
            try:
                self._stream.write(line + b"\n")
                self._stream.flush()
            except (OSError, ValueError):
                self.lost += 1

    debug = info = warning = error = critical = msg


class JsonRecords:
    """Writes records as JSON, past the processors that other lines go through: those add nothing to a record."""

    def __init__(self, writer: LineWriter, threshold: int) -> None:
        self._writer, self._threshold = writer, threshold

    def log(self, level: int, event: str, **fields: object) -> None:
        """Write one line from the threshold on."""
        if level >= self._threshold:
            self._writer.msg(_encoded(_LEVELS[level], event, fields))

    def prepare(self, level: int, event: str, **fields: object) -> Callable[..., None]:
        """Return what writes such lines: fields that are known are encoded, and looked through for secrets, once."""
        if level < self._threshold:
            return _unwritten
        known = _redacted(_ENCODER.encode({"level": _LEVELS[level], "event": event, **fields}))[1:]

        def write(**more: object) -> None:
            self._writer.msg(b'{"timestamp":"%b",%b,%b' % (_stamp().encode(), _ENCODER.encode(more)[1:-1], known))

        return write


class LoggingBridge(logging.Handler):
    """Hands the records of the standard library's loggers to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; `logger` names its origin."""
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        structlog.get_logger().log(level, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def configure_logs(log_format: LogFormat = "json", level: str = "info", stream: BinaryIO | None = None) -> LineLog:
    """Send all lines from `level` on to `stream` (default: standard output); libraries' lines from `warning` on.

    Handlers that the server or a library has put on its loggers are replaced. Returns the log for records.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    out = stream or sys.stdout.buffer
    writer = LineWriter(out)
    render = _json if log_format == "json" else _console(out)
    structlog.configure(
        processors=[_add_identity, structlog.processors.format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,
    )
    _route_standard_logging(LoggingBridge(), max(threshold, logging.WARNING))
    return JsonRecords(writer, threshold) if log_format == "json" else structlog.get_logger("refkeep").bind()


def _route_standard_logging(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for logger in [logging.getLogger(name) for name in root.manager.loggerDict]:
        if logger.handlers:
            logger.handlers, logger.propagate = [], True


def _add_identity(_: object, __: str, event: Event) -> Event:
    """Put the ids on lines that are no record; a record has its own."""
    if "operation" not in event:
        for name, value in (("correlation_id", correlation_id()), ("trace_id", trace_id())):
            if value is not None:
                event.setdefault(name, value)
    return event


def _stamp() -> str:
    """The time in UTC with milliseconds, as RFC 3339 writes it."""
    seconds, fraction = divmod(time(), 1)
    return f"{_second(int(seconds))}.{int(fraction * 1000):03d}Z"


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _json(_: object, level: str, event: Event) -> bytes:
    return _encoded(level, event.pop("event"), event)


def _encoded(level: str, event: str, fields: Mapping[str, object]) -> bytes:
    return _redacted(_ENCODER.encode({"timestamp": _stamp(), "level": level, "event": event, **fields}))


def _redacted(line: bytes) -> bytes:
    return redact(line.decode()).encode() if _is_suspect(line.lower()) else line


def _unwritten(**_: object) -> None:
    """Write nothing: the level is below the threshold."""


def _is_suspect(lowered: bytes) -> bool:
    """A loop of `in`, because one regular expression takes ten times as long."""
    for marker in _MARKERS:  # noqa: SIM110 - any() costs twice the loop on every line
        if marker in lowered:
            return True
    return False


def _console(stream: BinaryIO) -> structlog.typing.Processor:
    render = structlog.dev.ConsoleRenderer(colors=stream.isatty(), sort_keys=False)

    def line(log: object, level: str, event: Event) -> bytes:
        shown = render(log, level, {"timestamp": _stamp(), "level": level, **event})
        return redact(shown).encode()

    return line
