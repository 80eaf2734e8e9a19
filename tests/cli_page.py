"""docs/cli.md: what the commands say of themselves, on one page. `python -m tests.cli_page > docs/cli.md` writes it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator

import click

from service.__main__ import main
from service.commands.form import EVERY, MEANING, Command, Exit

_PREFACE = """\
# The command `refkeep`

Every command has `--help`; this page is written from the same texts (`python -m tests.cli_page > docs/cli.md`).

- **Settings** are environment variables, the same as for `serve`: see the [README](../README.md#settings). A command
  finds the database and the store by them; without `REFKEEP_DATABASE_URL` it uses the embedded PostgreSQL of
  `REFKEEP_DATA_DIR`, which it starts for as long as it runs unless a service runs it already.
- **For people** there are tables and progress bars, on a terminal; elsewhere lines with tabs, and no progress.
  **For scripts** there is `--json`: one document on standard output. What is no result is on standard error.
- **Ctrl-C** ends a command in order: what it did by then stands, and the next run goes on from there.
- **Completion** in a shell: `eval "$(_REFKEEP_COMPLETE=bash_source refkeep)"` in `~/.bashrc` (`zsh_source` in
  `~/.zshrc`; for fish `_REFKEEP_COMPLETE=fish_source refkeep > ~/.config/fish/completions/refkeep.fish`).
"""
_STATUSES = """\
## Exit statuses

3 and 4 mean what the command's own table says; the others mean the same everywhere.

| status | meaning |
|---|---|
"""


def page() -> str:
    """The whole page."""
    table = "".join(f"| {int(status)} | {MEANING[status]} |\n" for status in Exit)
    found = list(leaves())
    index = "".join(f"| [`{path}`](#{path.replace(' ', '-')}) | `{command.examples[0]}` |\n" for path, command in found)
    commands = f"## Commands\n\n| command | for example |\n|---|---|\n{index}"
    return "\n".join([_PREFACE, _STATUSES + table, commands, *(_section(path, command) for path, command in found)])


def leaves(group: click.Group = main, path: str = "refkeep") -> Iterator[tuple[str, Command]]:
    """Every command that does something, with its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path} {name}")
        elif isinstance(command, Command):
            yield f"{path} {name}", command


def _section(path: str, command: Command) -> str:
    context = click.Context(command)
    words = " ".join(command.collect_usage_pieces(context))
    examples = "\n".join(command.examples)
    options = "".join(_option(option) for option in command.params if isinstance(option, click.Option))
    table = f"\n| option | |\n|---|---|\n{options}" if options else ""
    beside = {status: meaning for status, meaning in command.statuses.items() if _is_own(status, meaning)}
    statuses = "".join(f"| {int(status)} | {meaning} |\n" for status, meaning in beside.items())
    own = f"\n| status | |\n|---|---|\n{statuses}" if statuses else ""
    told = inspect.cleandoc(command.help or "")
    return f"## {path}\n\n`{path} {words}`\n\n{told}\n\n```sh\n{examples}\n```\n{table}{own}"


def _is_own(status: Exit, meaning: str) -> bool:
    return status not in EVERY or meaning != MEANING[status]


def _option(option: click.Option) -> str:
    record = option.get_help_record(click.Context(click.Command("")))
    spelled, told = record or ("", "")
    return f"| `{' '.join(spelled.split())}` | {' '.join(told.split()).replace('|', chr(92) + '|')} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
