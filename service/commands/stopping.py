"""Signals that end a start, before there is a server to take them: installed before anything else is imported."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from service.commands.form import Command, Exit

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Serving(Command):
    """A command that ends in order by a signal, whenever it comes."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        with stoppable():
            return super().invoke(ctx)


@contextmanager
def stoppable() -> Iterator[None]:
    """The first signal ends the block by `SystemExit` with status 0, until a server takes signals over.

    What was begun is taken back in bounded time, which further signals do not disturb. Of the main thread alone.
    """
    before = {each: signal.signal(each, _end) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _end(_number: int, _frame: object) -> None:
    for each in _SIGNALS:
        signal.signal(each, _ignore)
    raise SystemExit(Exit.DONE)


def _ignore(_number: int, _frame: object) -> None:
    """The end is under way. No SIG_IGN: children that are started meanwhile would inherit it."""
