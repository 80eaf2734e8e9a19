"""`refkeep fsck` and `refkeep scrub`: whether database and store have what they promise each other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from service.commands.form import Command, Exit
from service.commands.options import DURATION, PERCENT, SIZE
from service.commands.output import (
    amount_of_bytes,
    json_option,
    plain_errors,
    print_json,
    print_table,
    refuse_read_only,
    settings_of_environment,
    visible,
)
from service.commands.postgres import reachable_postgres
from service.commands.progress import Tell, progress

if TYPE_CHECKING:
    from service.application.findings import Report
    from service.composition import Repair

_SHOWN = 50
_MEANING = {
    "missing": "blobs whose bytes the store does not have",
    "corrupt": "blobs of which the store has other bytes",
    "healed": "blobs whose bytes are whole again",
    "unsteady": "objects that read wrong once and right the second time",
    "unreadable": "objects that the store did not read",
    "garbage": "bytes without a row",
    "young": "bytes without a row, left alone for now",
    "unused": "objects that no blob shows",
    "adopted": "objects that the database did not know",
    "spare": "copies of bytes that are there already, left alone",
    "foreign": "objects that are not what their key says, left alone",
}


@click.command(
    cls=Command,
    examples=("refkeep fsck --dry-run", "refkeep fsck --min-age 1d --json", "refkeep fsck --adopt --workspace acme"),
    statuses={
        Exit.DONE: "all is well now; with --adopt --dry-run: nothing that the database shows is lost",
        Exit.REFUSED: "nothing was removed: it would be more than --max-delete-percent",
        Exit.NOT_WELL: "something is wrong still: see the report",
    },
    writes=True,
)
@click.option("--dry-run", is_flag=True, help="Look and tell; change nothing.")
@click.option("--adopt", is_flag=True, help="After a restore of the database: take back what the store has had since.")
@click.option("--workspace", help="With --adopt: who holds the blobs that come back; nobody without it.")
@click.option(
    "--max-delete-percent",
    type=PERCENT,
    default=100.0,
    show_default=True,
    help="Remove nothing if it were more of all stored objects.",
)
@click.option(
    "--min-age",
    type=DURATION,
    help="Leave bytes without a row alone until they are this old.  [default: ORPHAN_RETENTION]",
)
@click.option("--repair-quota", is_flag=True, help="Charge every workspace what it holds.")
@json_option
@click.pass_context
@plain_errors
def fsck(ctx: click.Context, /, **options: Any) -> None:
    """Hold the database and the store against each other, both ways; safe beside the service and other runs.

    Blobs whose bytes are missing are marked, and healed by the next upload of the same bytes. Bytes that no row knows
    are removed. A database that was restored from a backup does not know what came after it: then collection and fsck
    stop until `refkeep fsck --adopt` has taken back what is there and marked what is not: docs/backup.md.
    """
    _check_options(ctx, options)
    if not options["dry_run"]:
        refuse_read_only()
    alone = options["adopt"] and not options["dry_run"]
    _print_report(_run(lambda repair, tell: _check(repair, tell, options), alone=alone), options)


@click.command(
    cls=Command,
    examples=("refkeep scrub --max-bytes 10GB", "refkeep scrub --older-than 30d --rate 20MB --max-time 6h"),
    statuses={Exit.DONE: "all that was read is well", Exit.NOT_WELL: "something is wrong: see the report"},
    writes=True,
)
@click.option("--max-bytes", type=SIZE, help="Begin nothing more after so many bytes.")
@click.option("--max-time", type=DURATION, help="Begin nothing more after so long.")
@click.option("--rate", type=SIZE, help="Read at most so many bytes a second.")
@click.option("--older-than", type=DURATION, default="0", help="Leave alone what was read since.  [default: nothing]")
@json_option
@plain_errors
def scrub(**options: Any) -> None:
    """Read what lies in the store, the longest unread first, and mark what is not what was sent.

    An object is read twice before it is called corrupt. Every check counts at once: a run that is killed is continued
    by the next one, and several runs share the work. The second example, run nightly, reads everything within a month.
    """
    refuse_read_only()
    _print_report(_run(lambda repair, tell: _scrub(repair, tell, options), size=options["max_bytes"] or 0), options)


def _check_options(ctx: click.Context, options: dict[str, Any]) -> None:
    given = {name for name in options if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT}
    if options["adopt"]:
        unfit = given & {"max_delete_percent", "min_age", "repair_quota"}
        if unfit:
            raise click.UsageError("--adopt removes nothing and charges nothing anew: run `refkeep fsck` after it.")
    elif options["workspace"] is not None:
        raise click.UsageError("--workspace goes with --adopt.")


async def _check(repair: Repair, tell: Tell, options: dict[str, Any]) -> Report:
    from service.application.check_store import Check

    if options["adopt"]:
        return await repair.adopt(options["workspace"], tell, dry_run=options["dry_run"])
    min_age = repair.min_age if options["min_age"] is None else options["min_age"]
    check = Check(min_age, options["dry_run"], options["max_delete_percent"], options["repair_quota"])
    return await repair.check(check, tell)


async def _scrub(repair: Repair, tell: Tell, options: dict[str, Any]) -> Report:
    from service.application.scrub import Budget

    max_time: timedelta | None = options["max_time"]
    seconds = None if max_time is None else max_time.total_seconds()
    return await repair.scrub(Budget(options["max_bytes"], seconds, options["rate"], options["older_than"]), tell)


def _run(work: Callable[[Repair, Tell], Awaitable[Report]], size: int | None = None, *, alone: bool = False) -> Report:
    """`size` are the bytes that are to be read at most; None: progress is a share of the whole.

    `alone`: not beside a move, whose last pass may have gone by where an object comes back.
    """
    import asyncio

    async def at(url: str) -> Report:
        shown = progress("Comparing", 1.0, "share") if size is None else progress("Reading", size or None, "bytes")
        with shown as tell:
            async with _alone(url, alone=alone), _opened(url) as repair:
                return await work(repair, tell)

    with reachable_postgres(settings_of_environment()) as url:
        return asyncio.run(at(url))


@asynccontextmanager
async def _alone(url: str, *, alone: bool) -> AsyncIterator[None]:
    from service.adapters.postgres.moves import moving_alone

    async with moving_alone({"dsn": url}) if alone else nullcontext():
        yield


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Repair]:
    from service.adapters.postgres.opening import open_database
    from service.composition import create_repair, create_storage

    settings = settings_of_environment()
    database, store = await open_database({"dsn": url}, 2), create_storage(settings)
    try:
        await store.aopen()
        async with create_repair(settings, database, store) as repair:
            yield repair
    finally:
        await store.aclose()
        await database.aclose()


def _print_report(report: Report, options: dict[str, Any]) -> None:
    if options["as_json"]:
        print_json(_document(report))
    else:
        _print_text(report)
    if report.too_much is not None:
        click.echo(
            f"Nothing was removed: {report.too_much:.1f} % of all stored objects have no row, "
            f"more than {options['max_delete_percent']:g} %.",
            err=True,
        )
        raise SystemExit(Exit.REFUSED)
    if not report.is_well:
        raise SystemExit(Exit.NOT_WELL)


def _document(report: Report) -> dict[str, object]:
    findings = [
        {"kind": each.kind, "sha256": each.key[6:70], "key": each.key, "bytes": each.size, "settled": each.settled}
        for each in report.told
    ]
    return {
        "well": report.is_well,
        "rows": report.rows,
        "stored": report.stored,
        "bytes": report.bytes,
        "counts": {kind: {"count": n, "bytes": report.sizes[kind]} for kind, n in sorted(report.counts.items())},
        "findings": findings,
        "complete": len(findings) == report.counts.total(),
        "unfinished_uploads": report.unfinished,
        "drift": [asdict(drift) for drift in report.drift],
        "left": report.left,
    }


def _print_text(report: Report) -> None:
    rows: list[list[object]] = [
        [kind.value, count, amount_of_bytes(report.sizes[kind]), _MEANING[kind.value]]
        for kind, count in report.counts.items()
    ]
    rows += [["unfinished", report.unfinished, "", "uploads in parts that never ended"]] if report.unfinished else []
    rows += [
        ["drift", drift.slug, amount_of_bytes(drift.charged_bytes - drift.held_bytes), _DRIFT] for drift in report.drift
    ]
    rows += [["left", report.left, "", "objects that this run did not come to"]] if report.left else []
    rows.append(["seen", max(report.rows, report.stored), amount_of_bytes(report.bytes), "all objects"])
    print_table(["what", "count", "bytes", "of"], rows)
    for finding in report.told[:_SHOWN]:
        click.echo(f"{finding.kind}\t{visible(finding.key)}\t{'settled' if finding.settled else 'open'}")
    if report.counts.total() > _SHOWN:
        click.echo(f"… and {report.counts.total() - _SHOWN} more; --json tells more of them.")


_DRIFT = "charged beyond what is held; --repair-quota mends it"
