"""How the command `refkeep` ends, whatever happens: a status for scripts, a sentence for people, never a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from service.commands.form import MEANING, Exit

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class _Defect(click.ClickException):
    exit_code = Exit.DEFECT


@contextmanager
def told_apart() -> Iterator[None]:
    """Turn an interruption, a reader that went away and a defect into statuses of their own.

    A defect keeps its traceback in Python's development mode.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # while it can still be told that nobody reads
    except (KeyboardInterrupt, click.Abort):
        click.echo(err=True)  # ends the line in which the terminal shows ^C
        raise SystemExit(Exit.INTERRUPTED) from None
    except BrokenPipeError:
        _write_to_nobody()
        raise SystemExit(Exit.BROKEN_PIPE) from None
    except (click.ClickException, click.exceptions.Exit):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            _write_to_nobody()
            raise click.ClickException(f"What this says cannot be written: {error.strerror}.") from error
        if sys.flags.dev_mode:
            raise
        raise _Defect(f"{_told(error)}. This is {MEANING[Exit.DEFECT]}.") from error


def _told(error: Exception) -> str:
    from service.observability import redact

    return redact(f"{type(error).__name__}: {error}").rstrip(".")


def _write_to_nobody() -> None:
    """Else the interpreter would complain at its end, of what it could not write."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
