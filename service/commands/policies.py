"""`refkeep policies`: what the roles accept."""

from __future__ import annotations

from pathlib import Path

import click

from service.commands.form import Group
from service.commands.output import (
    json_option,
    plain_errors,
    print_json,
    print_table,
    settings_of_environment,
    text_of,
    visible,
)


@click.group(cls=Group)
def policies() -> None:
    """Policies: what each (entity type, role) accepts."""


@policies.command(
    "list", examples=("refkeep policies list", "REFKEEP_POLICIES=policies.toml refkeep policies list --json")
)
@json_option
@plain_errors
def list_policies(as_json: bool) -> None:
    """The policies in force: REFKEEP_POLICIES, or the packaged ones."""
    import msgspec

    from service.schemas.policies import policy_document
    from service.schemas.policy_file import load_policies

    settings = settings_of_environment()
    loaded = load_policies(settings.policies)
    documents = [policy_document(loaded, policy, settings.max_upload_bytes) for policy in loaded.items]
    if as_json:
        print_json(documents)
        return
    columns = ["entity_type", "role", "cardinality", "visibility", "max_bytes", "media_types"]
    rows = [msgspec.structs.asdict(document) for document in documents]
    print_table(columns, [[*(row[name] for name in columns[:-1]), " ".join(row["media_types"])] for row in rows])


@policies.command("check", examples=("refkeep policies check policies.toml",))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@plain_errors
def check_policies(file: Path, as_json: bool) -> None:
    """Read FILE as `serve` would; a mistake is named with its line."""
    from service.schemas.policy_file import load_policies

    loaded = load_policies(file)
    if as_json:
        print_json({"file": text_of(file), "policies": list(loaded.known())})
        return
    click.echo(f"{visible(str(file))}: {len(loaded.items)} policies: {', '.join(loaded.known())}")


@policies.command(
    examples=(
        "refkeep policies preview photo.jpg",
        "refkeep policies preview photo.jpg --policies policies.toml --out previews",
    )
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Folder to write into.")
@click.option(
    "--policies", "source", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Another policy file."
)
@json_option
@plain_errors
def preview(file: Path, out: Path, source: Path | None, as_json: bool) -> None:
    """Write what each preset makes of a picture or film: FILE's name with .preview.html and .preview.png."""
    from rich.console import Console
    from rich.progress import Progress

    from service.commands.preview import write_preview
    from service.schemas.policy_file import load_policies

    if not file.is_file():  # what gives its bytes once, or never, cannot be looked at time and again
        raise click.BadParameter(f"'{visible(str(file))}' is no regular file.", param_hint="'FILE'")
    if text_of(file) != str(file):  # the children that look at it are told its name as UTF-8
        raise click.BadParameter(f"The name '{visible(str(file))}' is not UTF-8.", param_hint="'FILE'")
    loaded = load_policies(source or settings_of_environment().policies)
    if not loaded.presets:
        raise click.ClickException("There are no presets: add tables [presets.name] to the policy file.")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rendering")
        page, sheet = write_preview(
            file, loaded, out, lambda done, total: progress.update(task, completed=done, total=total)
        )
    if as_json:
        print_json({"page": text_of(page), "sheet": text_of(sheet)})
        return
    click.echo(f"{visible(str(page))}\n{visible(str(sheet))}")
