"""`refkeep import`: what another system has, from a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from service.commands.form import Exit, Group
from service.commands.import_manifest import Manifest, folder_of, read_manifest
from service.commands.import_report import Report, RowProgress
from service.commands.options import DURATION
from service.commands.output import (
    json_option,
    plain_errors,
    print_json,
    print_table,
    refuse_read_only,
    settings_of_environment,
    visible,
)
from service.commands.postgres import reachable_postgres

if TYPE_CHECKING:
    from service.adapters.sources.any_source import AnySource
    from service.application.import_entity import Effort, RowResult
    from service.composition import Imports
    from service.domain.importing import RollBackPlan, Verdict
    from service.domain.slot import EntityKey
    from service.ports.imports import ImportRun

T = TypeVar("T")

_SHOWN = 50
_MEANING = {
    "imported": "refs that were made",
    "noop": "refs that an import made before",
    "skipped": "left as somebody wrote it",
    "failed": "wrong in the manifest, not to be had, or refused",
    "held-back": "right, but another row of the same entity failed",
}


class _WithDefault(Group):
    """`refkeep import FILE` is `refkeep import run FILE`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Group`."""
        if args and args[0] not in self.commands and args[0] not in self.get_help_option_names(ctx):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(name="import", cls=_WithDefault)
def imports() -> None:
    """Imports: `refkeep import MANIFEST` makes refs of what another system has; docs/import.md says how."""


@imports.command(
    "run",
    examples=(
        "refkeep import markers.csv --dry-run",
        "refkeep import markers.csv --allow-host images.example.org --report markers.report.csv",
    ),
    statuses={
        Exit.USAGE: "a wrong option or setting, or a manifest that cannot be read",
        Exit.NOT_WELL: "rows failed: see the report",
    },
    writes=True,
)
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would happen; write nothing, fetch nothing.")
@click.option("--fetch", is_flag=True, help="With --dry-run: get the bytes, judge them, and drop them.")
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Paths begin here, and nothing outside is opened.  [default: they begin beside the manifest]",
)
@click.option(
    "--allow-host", "hosts", multiple=True, help="Fetch from it: example.org, *.example.org, example.org:8443."
)
@click.option("--timeout", type=DURATION, default="5m", show_default=True, help="How long one address may take.")
@click.option(
    "--jobs", type=click.IntRange(1, 32), default=8, show_default=True, help="Entities, and sources, at a time."
)
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="A line for each row: .csv or .ndjson.")
@json_option
@plain_errors
def run(**options: Any) -> None:
    """Make refs of the rows of MANIFEST: CSV with a header, or NDJSON; - is standard input.

    Given again after a crash, it goes on where it was. What somebody wrote through the API stays as it is.
    """
    effort, sources = _effort(options), _sources(options)
    with (
        read_manifest(options["manifest"]) as manifest,
        Report.opened(options["report"], options["manifest"]) as report,
    ):
        counts, run_id = _run(options["jobs"], sources, lambda desk: _import(desk, manifest, effort, report))
    _print_run(run_id, counts, report, options)
    if report.fault is not None:
        raise click.ClickException(f"The report is not whole: {report.fault.strerror}.")
    if any(verdict.value == "failed" for verdict in counts):
        raise SystemExit(Exit.NOT_WELL)


@imports.command(
    "rollback",
    examples=(
        "refkeep import rollback 0199c1f2-7c4e-7a51-b3a8-5e0f6d1c2b3a --dry-run",
        "refkeep import rollback 0199c1f2-7c4e-7a51-b3a8-5e0f6d1c2b3a",
    ),
    statuses={Exit.DONE: "nothing of the run is left", Exit.NOT_WELL: "something was left: see the report"},
    writes=True,
)
@click.argument("run_id", metavar="RUN")
@click.option("--dry-run", is_flag=True, help="Say what would be released; write nothing.")
@click.option("--jobs", type=click.IntRange(1, 32), default=8, show_default=True, help="Entities at a time.")
@json_option
@plain_errors
def rollback(run_id: str, dry_run: bool, jobs: int, as_json: bool) -> None:
    """Release what RUN imported and nobody has touched since; say what is left. The trash keeps it for a while."""
    if not dry_run:
        refuse_read_only()
    plans: list[tuple[EntityKey, RollBackPlan]] = []

    async def roll_back(desk: Imports) -> None:
        known = await _known_run(desk, run_id)
        await desk.roll_back(known, lambda entity, plan: plans.append((entity, plan)), dry_run=dry_run)

    _run(jobs, _no_sources(), roll_back)
    _print_roll_back(run_id, plans, as_json=as_json)
    if any(plan.left for _, plan in plans):
        raise SystemExit(Exit.NOT_WELL)


@imports.command("list", examples=("refkeep import list", "refkeep import list --json | jq -r '.[0].run'"))
@json_option
@plain_errors
def list_runs(as_json: bool) -> None:
    """The latest runs, the last first."""
    documents = [_run_document(each) for each in _run(1, _no_sources(), lambda desk: desk.ledger.runs(100))]
    if as_json:
        print_json(documents)
    else:
        columns = ["run", "name", "state", "started_at", "touched_at", "entities"]
        print_table(columns, [[document[name] for name in columns] for document in documents])


@imports.command("status", examples=("refkeep import status 0199c1f2-7c4e-7a51-b3a8-5e0f6d1c2b3a --json",))
@click.argument("run_id", metavar="RUN")
@json_option
@plain_errors
def status(run_id: str, as_json: bool) -> None:
    """What is known of RUN; how many rows came to which end is known after its last pass."""
    found = _run(1, _no_sources(), lambda desk: _known_run(desk, run_id))
    if as_json:
        print_json(_run_document(found))
    else:
        print_table(["what", "value"], [*_run_document(found, counts=False).items(), *found.counts.items()])


def _effort(options: dict[str, Any]) -> Effort:
    from service.application.import_entity import Effort

    if not options["dry_run"]:
        if options["fetch"]:
            raise click.UsageError("--fetch goes with --dry-run: without that, everything is fetched anyway.")
        refuse_read_only()
        return Effort.DO
    return Effort.TRY if options["fetch"] else Effort.LOOK


def _sources(options: dict[str, Any]) -> AnySource:
    from service.adapters.sources.any_source import AnySource
    from service.adapters.sources.files import FileSource
    from service.adapters.sources.hosts import parse_allowed_host
    from service.adapters.sources.web import WebSource

    allowed = []
    for text in options["hosts"]:
        try:
            allowed.append(parse_allowed_host(text))
        except ValueError:
            raise click.UsageError(f"{text[:80]!r} is no host such as example.org, *.example.org or a:8443.") from None
    if not options["timeout"]:
        raise click.UsageError("--timeout is longer than 0.")
    start = (options["root"] or folder_of(options["manifest"])).absolute()
    web = WebSource(tuple(allowed), total_seconds=options["timeout"].total_seconds())
    return AnySource(FileSource(start, options["root"]), web)


def _no_sources() -> AnySource:
    from service.adapters.sources.any_source import AnySource
    from service.adapters.sources.files import FileSource
    from service.adapters.sources.web import WebSource

    return AnySource(FileSource(Path("/")), WebSource())


async def _import(
    desk: Imports, manifest: Manifest, effort: Effort, report: Report
) -> tuple[Counter[Verdict], str | None]:
    """How many rows came to which end, and the run that they are of."""
    from service.application.import_entity import Effort

    found = await desk.ledger.begin(manifest.sha256, manifest.name) if effort is Effort.DO else None
    if found is not None:
        click.echo(f"Import {found.id} of {visible(manifest.name)}: {manifest.rows} rows.", err=True)
    with RowProgress(manifest.rows) as progress:

        def tell(results: Sequence[RowResult]) -> None:
            report.take(results)
            progress.take(results)

        return await desk.run(manifest.worklist, found, effort, tell), None if found is None else found.id


async def _known_run(desk: Imports, run_id: str) -> ImportRun:
    from service.domain.errors import NotFound

    found = await desk.ledger.find(run_id)
    if found is None:
        raise NotFound(f"There is no import {run_id[:80]!r}: `refkeep import list` shows those there are.")
    return found


def _run(jobs: int, sources: AnySource, work: Callable[[Imports], Awaitable[T]]) -> T:
    import uvloop

    async def at(url: str) -> T:
        async with _opened(url, jobs, sources) as desk:
            return await work(desk)

    with reachable_postgres(settings_of_environment()) as url:
        return uvloop.run(at(url))  # what the service runs on, too: half again as many rows in the same time


@asynccontextmanager
async def _opened(url: str, jobs: int, sources: AnySource) -> AsyncIterator[Imports]:
    from service.adapters.postgres.opening import open_database
    from service.composition import create_imports, create_storage

    settings = settings_of_environment()
    # A connection for each source that is taken in, one for each entity that is judged or attached meanwhile.
    database, store = await open_database({"dsn": url}, 2 * jobs + 1), create_storage(settings)
    try:
        await store.aopen()
        async with create_imports(settings, (database, store), sources, jobs) as desk:
            yield desk
    finally:
        await sources.web.aclose()
        await store.aclose()
        await database.aclose()


def _print_run(run_id: str | None, counts: Counter[Verdict], report: Report, options: dict[str, Any]) -> None:
    numbers = {verdict.value: count for verdict, count in counts.items()}
    if options["as_json"]:
        complete = report.untold == 0
        print_json({"run": run_id, "counts": numbers, "not_imported": report.told, "complete": complete})
        return
    if options["dry_run"]:
        click.echo("Nothing was written: this is what would happen.", err=True)
    print_table(["rows", "count", "of"], [[name, numbers.get(name, 0), of] for name, of in _MEANING.items()])
    columns = ("line", "outcome", "source_id", "code", "detail")
    if report.told:
        print_table(columns, [[row[name] for name in columns] for row in report.told])
    if report.untold:
        click.echo(f"… and {report.untold} more: --report has them all.", err=True)
    if run_id is not None:
        click.echo(f"`refkeep import rollback {run_id}` takes it back.", err=True)


def _print_roll_back(run_id: str, plans: Sequence[tuple[EntityKey, RollBackPlan]], *, as_json: bool) -> None:
    released = sum(len(plan.release) for _, plan in plans)
    left = [
        {
            "entity": f"{entity.workspace}/{entity.type}/{entity.id}",
            "ref_id": str(leave.ref_id),
            "code": leave.reason.code,
            "detail": leave.reason.detail,
        }
        for entity, plan in plans
        for leave in plan.left
    ]
    if as_json:
        print_json({"run": run_id, "released": released, "left": left})
        return
    print_table(["what", "count"], [["released", released], ["left", len(left)]])
    if left:
        print_table(["entity", "ref_id", "code", "detail"], [[*row.values()] for row in left[:_SHOWN]])
    if len(left) > _SHOWN:
        click.echo(f"… and {len(left) - _SHOWN} more; --json tells all of them.", err=True)


def _run_document(found: ImportRun, *, counts: bool = True) -> dict[str, object]:
    from service.schemas.events import rfc3339

    return {
        "run": found.id,
        "name": found.name,
        "manifest_sha256": found.manifest,
        "state": found.state.value,
        "started_at": rfc3339(found.started_at),
        "touched_at": rfc3339(found.touched_at),
        "entities": found.entities,
        **({"counts": found.counts} if counts else {}),
    }
