"""`refkeep migrate-store`: the bytes go from one store to another while everything runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.commands.form import Command, Exit
from service.commands.options import PACE, SIZE, Form
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
from service.commands.progress import progress
from service.domain.location import FolderLocation, Location, parse_location

if TYPE_CHECKING:
    from service.application.move_store import Moved, Wish
    from service.ports.moves import Move

_SHOWN = 50
_LOCATION = Form(
    "location",
    parse_location,
    "a location such as file:///srv/refkeep/blobs or s3://bucket?endpoint=https://s3.example",
)
Sides = tuple[Location, Location]


@click.command(
    "migrate-store",
    cls=Command,
    examples=(
        "refkeep migrate-store --to 's3://refkeep?endpoint=https://s3.example' --dry-run",
        "refkeep migrate-store --to 's3://refkeep?endpoint=https://s3.example' --rate 50MB",
        "refkeep migrate-store --finish",
    ),
    statuses={
        Exit.DONE: "the pass is done; with --finish, the move is",
        Exit.REFUSED: "not yet: replicas still have the old store",
        Exit.NOT_WELL: "some objects cannot be copied: see the report",
    },
    writes=True,
)
@click.option(
    "--to", "to", type=_LOCATION, help="The new store; needed to begin, and to turn a move that is under way."
)
@click.option("--finish", is_flag=True, help="Close the old store for writers, copy what is left, and end the move.")
@click.option("--leave-damaged", is_flag=True, help="With --finish: end it without objects that nobody can copy whole.")
@click.option("--dry-run", is_flag=True, help="Count what would be copied; change nothing.")
@click.option("--rate", type=SIZE, help="Read at most so many bytes a second.")
@click.option("--objects", type=PACE, help="Begin at most so many objects a second.")
@click.option("--jobs", type=click.IntRange(1, 64), default=4, show_default=True, help="So many objects at a time.")
@json_option
@plain_errors
def migrate_store(**options: Any) -> None:
    """Move all bytes to another folder or bucket while the service reads and writes.

    The order of steps, and what each guarantees, is in docs/migrate-store.md. First, with the settings of old, as often
    as you like, the second example; every object is hashed as it is read and read back from the new store. Then restart
    all replicas with the settings of the new store, and run the third.

    A run that ends, for whatever reason, is continued by the next one. Nothing is removed from the old store. The way
    back is the same command with --to the old store, as long as the move is not finished.

    Locations: file:///the/DATA_DIR/blobs, s3://bucket with ?endpoint=, &region=, &profile= as far as needed.
    """
    import asyncio

    from service.application.move_store import Wish

    if options["leave_damaged"] and not options["finish"]:
        raise click.UsageError("--leave-damaged goes with --finish.")
    if not options["dry_run"]:
        refuse_read_only()
    wish = Wish(options["finish"], options["dry_run"], options["leave_damaged"])
    with reachable_postgres(settings_of_environment()) as url:
        sides, moved = asyncio.run(_run(url, wish, options))
    _print(sides, moved, options)


async def _run(url: str, wish: Wish, options: dict[str, Any]) -> tuple[Sides, Moved]:
    from contextlib import nullcontext

    from service.adapters.postgres.moves import PostgresMoves, moving_alone
    from service.adapters.postgres.opening import open_database
    from service.application.throttle import Throttle
    from service.composition import create_move, location_of

    settings = settings_of_environment()
    throttle = Throttle(options["rate"], options["objects"])
    database = await open_database({"dsn": url}, options["jobs"] + 2)
    try:
        async with nullcontext() if wish.dry_run else moving_alone({"dsn": url}):
            stores = await PostgresMoves(database).stores()
            sides = _sides(stores.move, options["to"], location_of(settings))
            async with create_move(settings, database, sides, options["jobs"]) as move:
                with progress("Comparing" if wish.dry_run else "Copying", 1.0, "share") as tell:
                    moved = await move(wish, throttle, tell)
        return sides, moved
    finally:
        await database.aclose()


def _sides(move: Move | None, to: Location | None, own: Location) -> Sides:
    """From where to where: as the move that is under way has it, else from the configured store."""
    if move is None:
        if to is None:
            raise click.UsageError("No move is under way: --to says where to.")
        if to == own:
            raise click.UsageError(f"{to} is the store of these settings already.")
        if isinstance(to, FolderLocation):
            _check_folder(to, own)
        return own, to
    source, target = parse_location(move.source), parse_location(move.target)
    if to is None or to == target:
        return source, target
    return (target, to) if to == source else (source, to)


def _check_folder(to: FolderLocation, own: Location) -> None:
    """A folder that a replica can have, and that stays when the old one is removed."""
    if to.path.name != "blobs":
        raise click.UsageError(f"{to} is no replica's store: that is the folder blobs of a DATA_DIR, as {to}/blobs.")
    if isinstance(own, FolderLocation) and Path(own.path).resolve() in Path(to.path).resolve().parents:
        raise click.UsageError(f"{to} lies within {own}: whoever removes the old store would remove the new one.")


def _print(sides: Sides, moved: Moved, options: dict[str, Any]) -> None:
    if options["as_json"]:
        print_json(_document(sides, moved, options))
    else:
        _print_text(moved, options)
    if moved.workers:
        click.echo(
            f"Nothing was closed yet: {moved.workers} workers still have {sides[0]}. "
            f"Restart them with the settings of {sides[1]} first.",
            err=True,
        )
        raise SystemExit(Exit.REFUSED)
    if moved.seen.unsettled and not moved.finished:
        raise SystemExit(Exit.NOT_WELL)
    if not options["as_json"]:
        click.echo(_next_step(sides, moved, options), err=True)


def _next_step(sides: Sides, moved: Moved, options: dict[str, Any]) -> str:
    if moved.finished:
        return f"Done. {sides[0]} is not used any more; `refkeep fsck` and `refkeep scrub` look at {sides[1]}."
    if options["dry_run"]:
        return "Nothing was changed."
    return "Next: restart the replicas with the settings of the new store, then `refkeep migrate-store --finish`."


def _document(sides: Sides, moved: Moved, options: dict[str, Any]) -> dict[str, object]:
    seen = moved.seen
    return {
        "from": str(sides[0]),
        "to": str(sides[1]),
        "dry_run": options["dry_run"],
        "finished": moved.finished,
        "workers_at_source": moved.workers,
        "objects": seen.objects,
        "there": seen.there,
        "read_back": seen.read_back,
        "copied": {"count": seen.copied.count, "bytes": seen.copied.bytes},
        "vanished": seen.vanished,
        "findings": [
            {"kind": each.kind, "sha256": each.key[6:70], "key": each.key, "bytes": each.size} for each in seen.findings
        ],
    }


def _print_text(moved: Moved, options: dict[str, Any]) -> None:
    from rich.filesize import decimal

    seen = moved.seen
    copied = "to copy" if options["dry_run"] else "copied, hashed and read back"
    rows: list[list[object]] = [
        ["objects", seen.objects, "", "all that must be in the new store"],
        ["there", seen.there, "", "were there"],
        ["copied", seen.copied.count, decimal(seen.copied.bytes), copied],
    ]
    rows += [["read back", seen.read_back, "", "were there and were read once more"]] if seen.read_back else []
    rows += [["vanished", seen.vanished, "", "collected meanwhile"]] if seen.vanished else []
    rows += [["findings", len(seen.findings), "", "objects that cannot be copied"]] if seen.findings else []
    print_table(["what", "count", "bytes", "of"], rows)
    for finding in seen.findings[:_SHOWN]:
        click.echo(f"{finding.kind}\t{visible(finding.key)}")
