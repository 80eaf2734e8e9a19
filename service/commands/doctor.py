"""`refkeep doctor`: what is wrong with a deployment, and what to do about it."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, ParamSpec

import click

from service.commands.form import Command, Exit
from service.commands.output import json_option, plain_errors, print_json, print_table, visible

if TYPE_CHECKING:
    from service.commands.checkup.findings import Finding, Look
    from service.settings import Survey

P = ParamSpec("P")

PARTS = ("settings", "data-dir", "port", "policies", "database", "store", "sentinel", "media", "telemetry")
_OF_STORE = ("STORAGE", "S3_", "DATA_DIR")
_COLOURS = {"ok": "green", "warning": "yellow", "fault": "bold red", "unknown": "dim"}


@click.command(
    cls=Command,
    examples=("refkeep doctor", "refkeep doctor --json | jq '.checks[] | select(.verdict != \"ok\")'"),
    statuses={Exit.DONE: "no fault was found", Exit.FAULT: "a fault was found; with --strict a warning, too"},
)
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Look at this part alone; repeatable.")
@click.option("--strict", is_flag=True, help="Take warnings for faults.")
@json_option
@plain_errors
def doctor(only: tuple[str, ...], strict: bool, as_json: bool) -> None:
    """Look at settings, folder, database, store, clocks, policies, media, telemetry: what is wrong, and what to do.

    Nothing is changed: a probe object is written to the store and removed again. Every check is made, whatever the
    others find; together they take a minute at most. No secret is printed.
    """
    findings = _look_at(only or PARTS)
    counts = Counter(finding.verdict.value for finding in findings)
    if as_json:
        print_json({"faults": counts["fault"], "warnings": counts["warning"], "checks": _documents(findings)})
    else:
        _print(findings)
    if counts["fault"] or (strict and counts["warning"]):
        raise SystemExit(Exit.FAULT)


def _documents(findings: Sequence[Finding]) -> list[dict[str, str | None]]:
    return [
        {"check": each.check, "verdict": each.verdict.value, "says": each.says, "do": each.remedy} for each in findings
    ]


def _print(findings: Sequence[Finding]) -> None:
    if not sys.stdout.isatty():
        print_table((), [(each.verdict.value, each.check, each.says, each.remedy) for each in findings])
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("check", "", "what was found, and what to do", header_style="bold", box=None)
    for each in findings:
        told = (
            Text(visible(each.says)) if each.remedy is None else Text(f"{visible(each.says)}\n→ {visible(each.remedy)}")
        )
        table.add_row(each.check, Text(each.verdict.value, _COLOURS[each.verdict.value]), told)
    Console().print(table)


def _look_at(parts: Sequence[str]) -> list[Finding]:
    import asyncio

    from service.settings import survey_settings

    survey = survey_settings(os.environ)
    if survey.mistakes:  # in whose place defaults are looked at: whatever was asked for, it is not this deployment
        parts = ("settings", *parts)
    # The embedded server is started, if it must be, from the thread that it does not outlive.
    with _database(survey) as (dsn, found):
        return asyncio.run(_found_by(parts, _looks(survey, dsn, found)))


async def _found_by(parts: Sequence[str], looks: dict[str, tuple[float, Look]]) -> list[Finding]:
    """All at once: each waits for somebody else most of the time."""
    import asyncio

    from service.commands.checkup.findings import looked_at

    done = await asyncio.gather(*(looked_at(name, *looks[name]) for name in PARTS if name in parts))
    return [finding for findings in done for finding in findings]


def _looks(survey: Survey, dsn: str | None, found: Sequence[Finding]) -> dict[str, tuple[float, Look]]:
    """By part: how many seconds it may take, and the look."""
    from service.commands.checkup import collector, configuration, database, machine, store
    from service.commands.checkup.findings import unknown

    settings = survey.settings
    is_unsure_of_store = any(name.removeprefix("REFKEEP_").startswith(_OF_STORE) for name in survey.mistakes)

    async def of_database() -> Sequence[Finding]:
        return found if dsn is None else await database.look_at_database(settings, dsn)

    async def of_store() -> Sequence[Finding]:
        if is_unsure_of_store:
            return [unknown("store", "Where it is, is malformed.")]
        return await store.look_at_store(settings)

    async def of_sentinel() -> Sequence[Finding]:
        if is_unsure_of_store:
            return [unknown("sentinel", "Where the store is, is malformed.")]
        if dsn is None:
            return [unknown("sentinel", "The database could not be asked.")]
        return await store.look_at_sentinel(settings, dsn)

    return {
        "settings": (5, _of(configuration.look_at_settings, survey, os.environ)),
        "data-dir": (5, _of(machine.look_at_folder, settings)),
        "port": (8, _of(machine.look_at_port, settings)),
        "policies": (10, _of(machine.look_at_policies, settings)),
        "database": (20, of_database),
        "store": (30, of_store),
        "sentinel": (20, of_sentinel),
        "media": (45, machine.look_at_media),
        "telemetry": (10, _of(collector.look_at_collector)),
    }


@contextmanager
def _database(survey: Survey) -> Iterator[tuple[str | None, Sequence[Finding]]]:
    """Where to ask, or None and what that means; a cluster that is not there is not made."""
    from service.adapters.postgres.embedded import embedded_postgres
    from service.adapters.postgres.embedded_account import EmbeddedPostgresError
    from service.commands.checkup.findings import fault, ok, unknown

    settings = survey.settings
    if "REFKEEP_DATABASE_URL" in survey.mistakes or settings.database_url is not None:
        yield settings.database_url, [unknown("database", "Its address is malformed.")]
        return
    try:
        is_there = (settings.data_dir / "postgres").exists()
    except OSError as error:
        yield None, [unknown("database", f"{settings.data_dir}: {error.strerror}.")]
        return
    if not is_there:
        yield None, [ok("database", "The embedded PostgreSQL is not there yet: the first start makes it.")]
        return
    with ExitStack() as stack:
        try:
            dsn = stack.enter_context(embedded_postgres(settings.data_dir, join=True))
            found: list[Finding] = []
        except (EmbeddedPostgresError, OSError) as error:
            dsn, found = None, [fault("database", str(error), f"See {settings.data_dir}/postgres.log.")]
        yield dsn, found


def _of(look: Callable[P, Sequence[Finding]], *args: P.args, **kwargs: P.kwargs) -> Look:
    """A check that blocks, in a thread that nobody waits for once its time is over: a disk may hang for ever."""
    from service.commands.checkup.findings import in_thread

    return lambda: in_thread(lambda: look(*args, **kwargs))
