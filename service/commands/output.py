"""What commands print: tables for people on a terminal, JSON for scripts; and how they fail."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.settings import Settings, SettingsError, load_settings

P = ParamSpec("P")
R = TypeVar("R")

READ_ONLY = 5
"""The exit status of a command that would change something where nothing may be changed."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


class _NothingChanged(click.ClickException):
    exit_code = READ_ONLY


def settings_of_environment() -> Settings:
    """The settings; a mistake in them ends the command with a sentence and status 2."""
    import os

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
    click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())


def visible(text: str) -> str:
    """A text that somebody else wrote, for people: what a terminal would act upon is spelled out, such as `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on a terminal, tab-separated lines elsewhere; cells are what they say, no markup."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(_text(cell) for cell in row))
        return
    table = Table(*columns, header_style="bold", box=None)
    for row in rows:
        table.add_row(*(Text(_text(cell)) for cell in row))
    Console().print(table)


@contextmanager
def _plain_errors() -> Iterator[None]:
    from service.adapters.postgres.embedded_account import EmbeddedPostgresError
    from service.adapters.postgres.migration import SchemaError
    from service.domain.errors import RefkeepError
    from service.domain.replay import BrokenStory
    from service.schemas.policy_file import PolicyFileError
    from service.server import AddressUnavailable

    of_ours = RefkeepError, BrokenStory, SchemaError, PolicyFileError
    try:
        yield
    except (*of_ours, AddressUnavailable, EmbeddedPostgresError) as error:
        raise click.ClickException("\n".join(visible(line) for line in str(error).split("\n"))) from error


def plain_errors(command: Callable[P, R]) -> Callable[P, R]:
    """A fault that has a sentence is printed as one, with exit status 1; a defect keeps its traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with _plain_errors():
            return command(*args, **kwargs)

    return run


def _text(cell: object) -> str:
    return "" if cell is None else visible(str(cell))
