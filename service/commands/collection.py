"""`refkeep gc`: what is collected, what would be, and a run by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import click

from service.commands.form import Exit, Group
from service.commands.options import PERCENT
from service.commands.output import (
    amount_of_bytes,
    json_option,
    plain_errors,
    print_json,
    print_table,
    refuse_read_only,
    settings_of_environment,
)
from service.commands.postgres import reachable_postgres
from service.commands.progress import progress

if TYPE_CHECKING:
    from service.application.collect import Collect, Collected
    from service.ports.collection import Amount, Backlog, Collection, Plan

T = TypeVar("T")

_STEPS = {
    "purge": "refs whose time in the trash is over",
    "drop": "renditions whose preset was changed or is gone",
    "release": "holdings past their lease that no ref uses",
    "condemn": "blobs that no workspace holds any more",
    "delete": "objects past their quarantine, and of uploads that never ended",
    "waiting": "condemned objects within their quarantine",
    "on_hold": "kept by a hold alone",
    "objects": "all objects",
}


@dataclass(frozen=True, slots=True)
class _Desk:
    """What the commands work with."""

    collect: Collect
    collection: Collection


@click.group(cls=Group)
def gc() -> None:
    """Collection: what nothing refers to goes, after a while. The service does this by itself."""


@gc.command("plan", examples=("refkeep gc plan", "refkeep gc plan --json | jq .percent"))
@json_option
@plain_errors
def show_plan(as_json: bool) -> None:
    """What a run would do now, with counts and bytes; nothing is changed."""
    _print_plan(_run(lambda desk: desk.collect.plan()), as_json=as_json)


@gc.command("status", examples=("refkeep gc status", "refkeep gc status --json | jq -r .store"))
@json_option
@plain_errors
def show_status(as_json: bool) -> None:
    """What is due and not done, and whether the store is the right one; nothing is changed."""

    async def look(desk: _Desk) -> tuple[str | None, Backlog, int]:
        return await _doubt(desk), await desk.collection.backlog(), await desk.collect.drop_stale.due()

    document = _status_document(*_run(look))
    if as_json:
        print_json(document)
    else:
        print_table(["what", "value"], list(document.items()))


@gc.command(
    "run",
    examples=("refkeep gc run --dry-run", "refkeep gc run --max-delete-percent 5"),
    statuses={Exit.REFUSED: "it would delete more than --max-delete-percent; nothing was done"},
    writes=True,
)
@click.option("--dry-run", is_flag=True, help="The same as `refkeep gc plan`.")
@click.option(
    "--max-delete-percent",
    type=PERCENT,
    default=100.0,
    show_default=True,
    help="Stop before anything happens if more of all objects would be condemned or deleted.",
)
@json_option
@plain_errors
def run(dry_run: bool, max_delete_percent: float, as_json: bool) -> None:
    """Collect what is due until nothing is left; safe beside the service and beside other runs."""
    if dry_run:
        _print_plan(_run(lambda desk: desk.collect.plan()), as_json=as_json)
        return
    refuse_read_only()
    _print_run(_run(lambda desk: _collect_all(desk, max_delete_percent)), as_json=as_json)


async def _collect_all(desk: _Desk, max_delete_percent: float) -> list[Collected]:
    plan = await desk.collect.plan()
    if plan.percent > max_delete_percent:
        click.echo(
            f"Nothing was done: {plan.percent:.1f} % of all objects would be condemned or deleted, "
            f"more than {max_delete_percent:g} %. See `refkeep gc plan`.",
            err=True,
        )
        raise SystemExit(Exit.REFUSED)
    rounds: list[Collected] = []
    total = plan.drop.count + plan.release.count + plan.condemn.count + plan.delete.count
    with progress("Collecting", total, "items") as tell:
        while not rounds or rounds[-1].more:
            rounds.append(await desk.collect())
            tell(min(total, sum(_done(collected) for collected in rounds)))
        tell(total)
    return rounds


def _done(collected: Collected) -> int:
    return (
        collected.stale
        + collected.reviewed.released.count
        + collected.reviewed.condemned.count
        + collected.deleted.count
    )


async def _doubt(desk: _Desk) -> str | None:
    """Why not everything is collected, None if it is."""
    from service.domain.errors import BehindFence, StorageUnavailable, WrongStore

    try:
        known = await desk.collect.guard.look()
    except (BehindFence, StorageUnavailable, WrongStore) as error:
        return str(error)
    return "right; after a restore nothing more is released for a while" if known.rests else None


def _run(work: Callable[[_Desk], Awaitable[T]]) -> T:
    import asyncio

    async def at_desk(url: str) -> T:
        async with _open_desk(url) as desk:
            return await work(desk)

    with reachable_postgres(settings_of_environment()) as url:
        return asyncio.run(at_desk(url))


@asynccontextmanager
async def _open_desk(url: str) -> AsyncIterator[_Desk]:
    from service.adapters.observed import ObservedStorage
    from service.adapters.postgres.collection import PostgresCollection
    from service.adapters.postgres.opening import open_database
    from service.composition import create_collect, create_storage, open_everywhere
    from service.schemas.policy_file import load_policies

    settings = settings_of_environment()
    policies = load_policies(settings.policies)
    database, store = await open_database({"dsn": url}, 2), create_storage(settings)
    try:
        await store.aopen()
        async with open_everywhere(settings, database, store) as everywhere:
            collect = create_collect(settings, policies, database, store, ObservedStorage(everywhere.storage))
            yield _Desk(collect, PostgresCollection(database))
    finally:
        await store.aclose()
        await database.aclose()


def _print_plan(plan: Plan, *, as_json: bool) -> None:
    amounts: dict[str, Amount] = {name: getattr(plan, name) for name in _STEPS}
    if as_json:
        documents = {name: {"count": amount.count, "bytes": amount.bytes} for name, amount in amounts.items()}
        print_json({**documents, "percent": round(plan.percent, 3)})
        return
    rows = [[name, amounts[name].count, amount_of_bytes(amounts[name].bytes), _STEPS[name]] for name in _STEPS]
    print_table(["step", "count", "bytes", "of"], rows)


def _print_run(rounds: list[Collected], *, as_json: bool) -> None:
    from service.ports.collection import Amount

    done = {
        "released": sum((each.reviewed.released for each in rounds), Amount()),
        "condemned": sum((each.reviewed.condemned for each in rounds), Amount()),
        "abandoned": sum((each.abandoned for each in rounds), Amount()),
        "deleted": sum((each.deleted for each in rounds), Amount()),
    }
    busy = rounds[-1].reviewed.busy
    counts = {"purged": sum(each.purged for each in rounds), "dropped": sum(each.stale for each in rounds)}
    if as_json:
        documents = {name: {"count": amount.count, "bytes": amount.bytes} for name, amount in done.items()}
        print_json({**counts, **documents, "busy": busy, "rounds": len(rounds)})
        return
    rows = [[name, each.count, amount_of_bytes(each.bytes)] for name, each in done.items()]
    print_table(["what", "count", "bytes"], [*([name, count, ""] for name, count in counts.items()), *rows])
    if busy:
        click.echo(f"{busy} left for later: others work on them.", err=True)


def _status_document(doubt: str | None, backlog: Backlog, stale: int) -> dict[str, str | int | None]:
    from service.schemas.events import rfc3339

    return {
        "store": doubt or "right",
        "stale": stale,
        "reviews": backlog.reviews,
        "uploads": backlog.uploads,
        "condemned": backlog.condemned,
        "oldest": None if backlog.oldest is None else rfc3339(backlog.oldest),
    }
