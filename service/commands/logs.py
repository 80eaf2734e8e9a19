"""Logs of commands: warnings on standard error, set up when the first one is written, which is hardly ever."""

from __future__ import annotations

import logging
import sys


class _Deferred(logging.Handler):
    """Sets logs up for real, and passes on what made that necessary."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        set_up()
        logging.getLogger().handle(record)


class _DeferredRecords:
    """The same for records of calls."""

    def log(self, level: int, event: str, **fields: object) -> None:
        """Write one line, from warnings on."""
        if level >= logging.WARNING:
            import structlog

            set_up()
            structlog.get_logger("refkeep").log(level, event, **fields)


def defer_logs() -> None:
    """Have them set up by the first line: setting up takes longer than most commands do."""
    import os

    from service.telemetry.variables import leave_out_foreign

    leave_out_foreign(os.environ)  # before the first import of OpenTelemetry
    from opentelemetry import metrics, trace

    from service.observability import connect

    root = logging.getLogger()
    root.handlers = [_Deferred()]
    root.setLevel(logging.WARNING)
    connect(trace.get_tracer("refkeep"), metrics.get_meter("refkeep"), _DeferredRecords())


def set_up() -> None:
    """Set them up now."""
    from service.telemetry.logs import configure_logs

    configure_logs("console", "warning", sys.stderr.buffer)
