"""How far a long command is: a bar on standard error where that is a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress

Unit = Literal["items", "bytes", "share", "unknown"]


class Tell(Protocol):
    """Called with how much is done by now, in all, and in which words if they change."""

    def __call__(self, done: float, words: str | None = None) -> None:
        """Show it."""


@contextmanager
def progress(words: str, total: float | None, unit: Unit) -> Iterator[Tell]:
    """Show `words` and how much of `total` is done, for as long as the block runs."""
    if not sys.stderr.isatty():
        yield _nobody
        return
    with _bar(unit) as bar:
        task = bar.add_task(words, total=total)

        def tell(done: float, words: str | None = None) -> None:
            bar.update(task, completed=done, description=words)

        yield tell


def _nobody(done: float, words: str | None = None) -> None:
    """Nobody watches."""


def _bar(unit: Unit) -> Progress:
    # The library takes a tenth of a second to import, and is of use on terminals alone.
    from rich import progress as rich
    from rich.console import Console

    amount = {
        "items": rich.MofNCompleteColumn,
        "bytes": rich.DownloadColumn,
        "share": rich.TaskProgressColumn,
        "unknown": None,
    }[unit]
    shape: list[rich.ProgressColumn] = [rich.SpinnerColumn()] if amount is None else [rich.BarColumn(), amount()]
    columns = (rich.TextColumn("{task.description}"), *shape, rich.TimeElapsedColumn())
    return rich.Progress(*columns, console=Console(stderr=True))
