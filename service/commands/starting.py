"""What a start says, in the form of the lines that come after it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
import structlog

from service.commands.form import Exit
from service.commands.output import sentence_of
from service.telemetry.logs import LogFormat, configure_logs
from service.telemetry.variables import leave_out_unusable


@contextmanager
def told_in_lines(log_format: LogFormat) -> Iterator[None]:
    """Have this process say on standard error, in the form of its workers' lines, what it has to say.

    A fault ends the block with its status, as it would end any command.
    """
    configure_logs(log_format, stream=sys.stderr.buffer)
    log = structlog.get_logger("refkeep")
    for each in leave_out_unusable(os.environ):
        log.warning("otel_variable_left_out", variable=each.variable, says=str(each))
    try:
        yield
    except Exception as error:
        if log_format == "console":
            raise
        raise SystemExit(_told(error)) from error


def _told(error: Exception) -> Exit:
    """Write the line of a fault; the status that it ends with."""
    log = structlog.get_logger("refkeep")
    sentence = error.message if isinstance(error, click.ClickException) else sentence_of(error)
    if sentence is None:
        log.error("ended_by_fault", exc_info=error)
        return Exit.DEFECT
    log.error("ended_by_fault", says=sentence)
    return Exit.FAULT
