"""`refkeep policies`: what the roles accept."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from service.commands.output import json_option, plain_errors, print_json, print_table, settings_of_environment
from service.schemas.policies import policy_document
from service.schemas.policy_file import load_policies


@click.group()
def policies() -> None:
    """Policies: what each (entity type, role) accepts."""


@policies.command("list")
@json_option
@plain_errors
def list_policies(as_json: bool) -> None:
    """The policies in force: REFKEEP_POLICIES, or the packaged ones."""
    settings = settings_of_environment()
    loaded = load_policies(settings.policies)
    documents = [policy_document(policy, settings.max_upload_bytes) for policy in loaded.items]
    if as_json:
        print_json(documents)
        return
    columns = ["entity_type", "role", "cardinality", "visibility", "max_bytes", "media_types"]
    rows = [msgspec.structs.asdict(document) for document in documents]
    print_table(columns, [[*(row[name] for name in columns[:-1]), " ".join(row["media_types"])] for row in rows])


@policies.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@plain_errors
def check_policies(file: Path) -> None:
    """Read FILE as `serve` would; a mistake is named with its line."""
    loaded = load_policies(file)
    click.echo(f"{file}: {len(loaded.items)} policies: {', '.join(loaded.known())}")


@policies.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Folder to write into.")
@click.option(
    "--policies", "source", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Another policy file."
)
@plain_errors
def preview(file: Path, out: Path, source: Path | None) -> None:
    """Write what each preset makes of a picture or film: FILE's name with .preview.html and .preview.png."""
    from rich.console import Console
    from rich.progress import Progress

    from service.commands.preview import write_preview

    loaded = load_policies(source or settings_of_environment().policies)
    if not loaded.presets:
        raise click.ClickException("There are no presets: add tables [presets.name] to the policy file.")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rendering")
        written = write_preview(
            file, loaded, out, lambda done, total: progress.update(task, completed=done, total=total)
        )
    for each in written:
        click.echo(str(each))
