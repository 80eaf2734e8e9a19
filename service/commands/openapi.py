"""`refkeep openapi`: the contract that this release keeps."""

from __future__ import annotations

from difflib import unified_diff
from itertools import islice
from pathlib import Path

import click

_SHOWN = 40
_file = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--check", "checked", type=_file, help="Compare with this file; differ is exit status 1.")
@click.option("--output", type=_file, help="Write to this file, not to standard output.")
def openapi(checked: Path | None, output: Path | None) -> None:
    """Print the OpenAPI document as YAML: the same at every run."""
    from service.router.openapi.document import document_yaml

    text = document_yaml()
    if checked is not None:
        _compare(checked, text)
    elif output is not None:
        output.write_text(text, encoding="utf-8")
    else:
        click.echo(text, nl=False)


def _compare(file: Path, text: str) -> None:
    found = file.read_text(encoding="utf-8") if file.exists() else ""
    if found == text:
        return
    lines = unified_diff(found.splitlines(), text.splitlines(), str(file), "this release", lineterm="", n=1)
    click.echo("\n".join(islice(lines, _SHOWN)), err=True)
    raise click.ClickException(f"{file} is not what this release serves; write it anew with `refkeep openapi`.")
