"""What commands print: tables for people on a terminal, JSON for scripts; and how they fail."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from service.commands.form import Exit

if TYPE_CHECKING:
    from pathlib import Path

    from service.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

_WITH_SENTENCES = {
    "service.adapters.postgres.embedded_account": "EmbeddedPostgresError",
    "service.adapters.postgres.migration": "SchemaError",
    "service.domain.errors": "RefkeepError",
    "service.domain.replay": "BrokenStory",
    "service.schemas.policy_file": "PolicyFileError",
    "service.server": "AddressUnavailable",
}
"""Exceptions whose text is a sentence for people, by their modules."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


class _NothingChanged(click.ClickException):
    exit_code = Exit.READ_ONLY


def settings_of_environment() -> Settings:
    """The settings; a mistake in them ends the command with a sentence and status 2."""
    import os

    from service.settings import SettingsError, load_settings

    try:
        return load_settings(os.environ)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error


def refuse_read_only() -> None:
    """End a command that would change something with a sentence and status 5 where nothing may be changed."""
    if settings_of_environment().read_only:
        raise _NothingChanged("Nothing was changed: REFKEEP_READ_ONLY is set.")


def print_json(document: object) -> None:
    """One JSON document on standard output."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())


def text_of(path: Path | str) -> str:
    """The name of a file as UTF-8 has it: bytes that are none, which Linux allows in names, are told by `\ufffd`."""
    return os.fsencode(path).decode(errors="replace")


def visible(text: str) -> str:
    """A text that somebody else wrote, for people: what a terminal would act upon is spelled out, such as `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def amount_of_bytes(size: int) -> str:
    """`1.5 kB`, for people."""
    from rich.filesize import decimal

    return decimal(size)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on a terminal, tab-separated lines elsewhere; cells are what they say, no markup."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(_text(cell) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, header_style="bold", box=None)
    for row in rows:
        table.add_row(*(Text(_text(cell)) for cell in row))
    Console().print(table)


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        raise click.ClickException("\n".join(visible(line) for line in sentence.split("\n"))) from error


def sentence_of(error: Exception) -> str | None:
    """What to say of a fault, None of what is none. What was never imported was never raised."""
    for module, name in _WITH_SENTENCES.items():
        if module in sys.modules and isinstance(error, getattr(sys.modules[module], name)):
            return str(error)
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    return None


def plain_errors(command: Callable[P, R]) -> Callable[P, R]:
    """A fault that has a sentence is printed as one, with exit status 1; a defect keeps its traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with _plain_errors():
            return command(*args, **kwargs)

    return run


def _text(cell: object) -> str:
    return "" if cell is None else visible(str(cell))
