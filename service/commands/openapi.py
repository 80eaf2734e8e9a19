"""`refkeep openapi`: the contract that this release keeps."""

from __future__ import annotations

from difflib import unified_diff
from itertools import islice
from pathlib import Path

import click

from service.commands.form import Command, Exit
from service.commands.output import json_option, plain_errors, print_json

_SHOWN = 40
_file = click.Path(dir_okay=False, path_type=Path)


@click.command(
    cls=Command,
    examples=(
        "refkeep openapi > openapi.yaml",
        "refkeep openapi --check openapi.yaml",
        "refkeep openapi --json | jq .info",
    ),
    statuses={Exit.FAULT: "--check found a difference, or a fault"},
)
@click.option("--check", "checked", type=_file, help="Compare with this file, which is YAML.")
@click.option("--output", type=_file, help="Write to this file, not to standard output.")
@json_option
@plain_errors
def openapi(checked: Path | None, output: Path | None, as_json: bool) -> None:
    """Print the OpenAPI document as YAML: the same at every run."""
    from service.router.openapi.document import build_document, document_yaml

    if as_json:
        if checked is not None or output is not None:
            raise click.UsageError("--json prints the document: it goes without --check and --output.")
        print_json(build_document())
        return
    text = document_yaml()
    if checked is not None:
        _compare(checked, text)
    elif output is not None:
        output.write_text(text, encoding="utf-8")
    else:
        click.echo(text, nl=False)


def _compare(file: Path, text: str) -> None:
    found = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    if found == text:
        return
    lines = unified_diff(found.splitlines(), text.splitlines(), str(file), "this release", lineterm="", n=1)
    click.echo("\n".join(islice(lines, _SHOWN)), err=True)
    raise click.ClickException(f"{file} is not what this release serves; write it anew with `refkeep openapi`.")
