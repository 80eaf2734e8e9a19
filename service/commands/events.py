"""`refkeep events`: the log read, proved, told again, and its old end dropped."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import click

from service.commands.form import Exit, Group
from service.commands.output import (
    json_option,
    plain_errors,
    print_json,
    print_table,
    refuse_read_only,
    visible,
)
from service.commands.postgres import with_database
from service.commands.progress import progress

if TYPE_CHECKING:
    from service.adapters.postgres.database import Database
    from service.application.verify_log import Difference, Finding
    from service.ports.archive import Extent
    from service.ports.feed import EventFilter, Lag, LoggedEvent


_POLL_S = 0.5
_CURSOR = re.compile(r"[0-9a-f]+-[0-9a-f]+-[0-9a-f]+")


@click.group(cls=Group)
def events() -> None:
    """The event log: every decision that was taken."""


@events.command(
    "tail",
    examples=(
        "refkeep events tail --follow --entity book/42",
        "refkeep events tail --workspace acme --lines 1000 --json | jq -r .type",
    ),
)
@click.option("--workspace", help="Only events of this workspace; without it those of all, and of operators.")
@click.option("--after", metavar="CURSOR", help="From there on; without it the last --lines events.")
@click.option(
    "--lines", type=click.IntRange(0, 1_000_000), default=20, show_default=True, help="How many to begin with."
)
@click.option("--follow", "-f", is_flag=True, help="Go on as events come, until Ctrl-C.")
@click.option("--entity", metavar="TYPE/ID", help="Only events of this entity.")
@click.option("--ref", "ref_id", type=click.UUID, help="Only events of this ref.")
@click.option("--sha256", help="Only events about these bytes.")
@click.option("--decision", help="Only these decisions.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as a CloudEvent on a line of its own.")
@plain_errors
def tail(workspace: str | None, after: str | None, lines: int, follow: bool, as_json: bool, **wanted: object) -> None:
    """Print events in their order, those of operators too."""
    import asyncio

    from service.adapters.postgres.feed import PostgresFeed

    narrowed = _filter(wanted)

    async def work(database: Database) -> None:
        feed = PostgresFeed(database)
        start = after if after is not None else await feed.before_last(workspace, lines, narrowed)
        while True:
            page = await feed.page(workspace, start, 500, narrowed)
            for event in page.events:
                _print_event(event, as_json=as_json)
            start = page.next_cursor
            if page.caught_up and not follow:
                return
            if page.caught_up:
                sys.stdout.flush()
                await asyncio.sleep(_POLL_S)

    with_database(work, 2)


@events.command(
    "verify",
    examples=("refkeep events verify", "refkeep events verify --json | jq .differences"),
    statuses={Exit.DONE: "log and tables agree", Exit.REFUSED: "they differ"},
)
@json_option
@plain_errors
def verify(as_json: bool) -> None:
    """Fold the log and compare with the tables, in one snapshot of a system that goes on living.

    Entities with their versions and refs, holdings, holds, tombstones. Memory stays small; Postgres may sort on disk.
    """
    from service.adapters.postgres.archive import PostgresArchive
    from service.application.verify_log import VerifyLog

    counts: dict[str, int] = {}
    differences: list[Difference] = []
    told = 0

    async def work(database: Database) -> None:
        nonlocal told
        with progress("Folding", None, "unknown") as tell:
            async for finding in VerifyLog(PostgresArchive(database))():
                told += finding.events
                counts[finding.what] = counts.get(finding.what, 0) + 1
                differences.extend(_difference(finding))
                tell(told, f"Folding: {told} events")

    with_database(work, 2)
    _print_verdict(counts, differences, told, as_json=as_json)
    if differences:
        raise SystemExit(Exit.REFUSED)


@events.command(
    "replay",
    examples=(
        "refkeep events replay --workspace acme --entity book/42 --until 2026-01-02T03:04:05Z",
        "refkeep events replay --workspace acme > acme.ndjson",
    ),
)
@click.option("--workspace", help="Only this workspace.")
@click.option("--entity", metavar="TYPE/ID", help="Only this entity.")
@click.option("--until", metavar="CURSOR|TIME", help="As it was then; a time is RFC 3339.")
@plain_errors
def replay(workspace: str | None, entity: str | None, until: str | None) -> None:
    """Rebuild what was there, from the log alone, as lines of JSON: entities with their refs, then holdings."""
    import msgspec

    from service.adapters.postgres.archive import PostgresArchive
    from service.application.replay_log import ReplayLog
    from service.ports.archive import Scope
    from service.schemas.replay import replayed_document

    kind, name = _entity(entity)
    scope = Scope(workspace, kind, name, None if until is None else _place(until), rows=False)

    async def work(database: Database) -> None:
        async for replayed in ReplayLog(PostgresArchive(database))(scope):
            click.echo(msgspec.json.encode(replayed_document(replayed)))

    with_database(work, 2)


@events.command(
    "drop",
    examples=("refkeep events drop --before 365d --dry-run", "refkeep events drop --before 2026-01-01T00:00:00Z"),
    writes=True,
)
@click.option(
    "--before", required=True, metavar="CURSOR|TIME|AGE", help="Up to a cursor, or older than a time or an age (90d)."
)
@click.option("--dry-run", is_flag=True, help="Only count them.")
@click.option("--batch", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="Of one transaction.")
@json_option
@plain_errors
def drop(before: str, dry_run: bool, batch: int, as_json: bool) -> None:
    """Drop old events for good, once a checkpoint has what they made.

    Each batch goes into the checkpoint by the transaction that deletes it: stopped at any moment, `verify` still holds.
    Readers with an older cursor get 410 and begin with /snapshot. Nothing but this command drops events.
    """
    from service.adapters.postgres.checkpoints import PostgresCheckpoints
    from service.application.drop_events import DropEvents

    if not dry_run:
        refuse_read_only()

    async def work(database: Database) -> tuple[int, str | None]:
        checkpoints, place = PostgresCheckpoints(database), await _oldest_kept(database, before)
        total, until = await checkpoints.count(place), None
        if dry_run:
            return total, None
        done = 0
        with progress("Dropping", total, "items") as tell:
            async for dropped in DropEvents(checkpoints)(place, batch):
                done, until = done + dropped.events, dropped.until or until
                tell(done)
        return done, until

    count, until = with_database(work, 2)
    if as_json:
        print_json({"dry_run": dry_run, "events": count, "until": until})
    else:
        print_table(["what", "value"], [["would drop" if dry_run else "dropped", count], ["until", until]])


@events.command("status", examples=("refkeep events status", "refkeep events status --json | jq .lag_seconds"))
@json_option
@plain_errors
def status(as_json: bool) -> None:
    """The log's two ends, how far the feed is behind, and whose transaction holds it back."""
    from service.adapters.postgres.checkpoints import PostgresCheckpoints
    from service.adapters.postgres.feed import PostgresFeed

    async def work(database: Database) -> tuple[Extent, Lag]:
        return await PostgresCheckpoints(database).extent(), await PostgresFeed(database).lag()

    extent, lag = with_database(work, 2)
    document = _status_document(extent, lag)
    if as_json:
        print_json(document)
    else:
        print_table(["what", "value"], list(document.items()))


def _filter(wanted: dict[str, object]) -> EventFilter:
    from service.domain.blob import parse_sha256
    from service.domain.event import DecisionKind
    from service.ports.feed import EventFilter

    kind, name = _entity(_text(wanted["entity"]))
    sha256, decision, ref_id = _text(wanted["sha256"]), _text(wanted["decision"]), wanted["ref_id"]
    if decision is not None and decision not in {each.value for each in DecisionKind}:
        raise click.BadParameter(f"one of {', '.join(DecisionKind)}.", param_hint="--decision")
    return EventFilter(
        kind,
        name,
        ref_id if isinstance(ref_id, UUID) else None,
        None if sha256 is None else parse_sha256(sha256),
        decision,
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _entity(text: str | None) -> tuple[str | None, str | None]:
    if text is None:
        return None, None
    kind, slash, name = text.partition("/")
    if not (kind and slash and name):
        raise click.BadParameter("an entity is written as TYPE/ID: book/42.", param_hint="--entity")
    return kind, name


def _place(text: str) -> str | datetime:
    """A cursor, or a time of RFC 3339."""
    if _CURSOR.fullmatch(text):
        return text
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):  # before the first year, and after the last
        raise click.BadParameter(f"{text!r} is no cursor and no time such as 2026-01-02T03:04:05Z.") from None


async def _oldest_kept(database: Database, text: str) -> str | datetime:
    """The same, or an age, counted back on the database's clock."""
    from service.setting_forms import duration

    try:
        age = duration(text)
    except ValueError:
        return _place(text)
    row = await database.fetchrow("SELECT refkeep_now() - $1::interval AS time", age)
    if row is None:
        raise RuntimeError("a clock without a time")
    time: datetime = row["time"]
    return time


def _difference(finding: Finding) -> list[Difference]:
    return [] if finding.difference is None else [finding.difference]


def _print_verdict(counts: dict[str, int], differences: list[Difference], told: int, *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print_json({"events": told, "compared": counts, "differences": [asdict(each) for each in differences]})
        return
    print_table(["what", "compared"], [["events", told], *counts.items()])
    for each in differences:
        click.echo(visible(f"{each.what} {each.subject}: {each.detail}"), err=True)
    click.echo("The log and the tables differ." if differences else "The log tells the tables.", err=True)


def _print_event(event: LoggedEvent, *, as_json: bool) -> None:
    import msgspec

    from service.schemas.events import EventData, rfc3339
    from service.schemas.feed import cloud_event

    if as_json:
        click.echo(msgspec.json.encode(cloud_event(event)))
        return
    data = msgspec.json.decode(event.data, type=EventData)
    kind = event.type.removeprefix("refkeep.").removesuffix(".v1")
    words = [rfc3339(event.time), event.cursor, data.workspace or "-", kind, event.subject]
    version = [] if data.entity is None else [f"version {data.entity.version}"]
    click.echo(visible("  ".join([*words, *version, *([data.code] if data.code else []), data.actor])))


def _status_document(extent: Extent, lag: Lag) -> dict[str, str | int | float | None]:
    from service.schemas.events import rfc3339

    def time(value: datetime | None) -> str | None:
        return None if value is None else rfc3339(value)

    blocker = lag.blocker
    return {
        "first": extent.first,
        "first_time": time(extent.first_time),
        "last": extent.last,
        "last_time": time(extent.last_time),
        "edge": extent.edge,
        "dropped": extent.dropped,
        "dropped_until": extent.dropped_until,
        "dropped_at": time(extent.dropped_at),
        "lag_seconds": round(lag.seconds, 3),
        "waiting": lag.waiting,
        "blocker_pid": None if blocker is None else blocker.pid,
        "blocker_application": None if blocker is None else blocker.application,
        "blocker_state": None if blocker is None else blocker.state,
        "blocker_since": None if blocker is None else time(blocker.started_at),
        "blocker_query_since": None if blocker is None else time(blocker.query_started_at),
    }
