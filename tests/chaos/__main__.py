"""`python -m tests.chaos`: attack Refkeep for minutes, then see whether anything was lost or kept without a reason."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.chaos.places import Kind
from tests.chaos.run import Plan, run
from tests.chaos.tally import Tally
from tests.parts.postgres import running_postgres


@click.command()
@click.option("--minutes", default=3.0, show_default=True, help="How long the attacks last.")
@click.option("--clients", default=50, show_default=True)
@click.option("--processes", default=4, show_default=True)
@click.option("--store", type=click.Choice(["s3", "filesystem"]), default="s3", show_default=True)
@click.option("--seed", type=int, default=None, help="For the same choices as an earlier run.")
@click.option("--keep", is_flag=True, help="Keep the logs of the processes.")
def chaos(minutes: float, clients: int, processes: int, store: Kind, seed: int | None, keep: bool) -> None:
    """Kill processes of the service at random while clients write, then hold everything against what they were told."""
    plan = Plan(minutes * 60, clients, processes, store, random.randrange(2**31) if seed is None else seed)
    folder, began = Path(tempfile.mkdtemp(prefix="refkeep-chaos-")), time.monotonic()
    try:
        with running_postgres(folder / "postgres") as postgres:
            tally = run(plan, postgres, folder)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    _show(plan, tally, time.monotonic() - began)
    sys.exit(1 if tally.flaws else 0)


def _show(plan: Plan, tally: Tally, seconds: float) -> None:
    console = Console(width=110)
    title = f"{plan.processes} processes, {plan.clients} clients, {plan.store}, seed {plan.seed}"
    sections: dict[str, Mapping[str, object]] = {
        "attacks": {
            "processes killed": tally.kills,
            "connections refused": tally.refused_connections,
            "requests whose connection died": tally.unknown,
            **{f"… that {what} when repeated": count for what, count in sorted(tally.resolved.items())},
        },
        "answers": dict(sorted(tally.answers.items())),
        "done": dict(tally.done.most_common()),
        "afterwards": tally.facts,
    }
    table = Table("what", "number", title=title, caption=f"{seconds:.0f} s in all")
    for section, rows in sections.items():
        table.add_section()
        table.add_row(f"[bold]{section}", "")
        for name, number in rows.items():
            table.add_row(f"  {name}", str(number))
    console.print(table)
    for flaw in tally.flaws:
        console.print(f"[red]broken:[/] {flaw}", soft_wrap=True)
    console.print(
        "[red]Promises were broken." if tally.flaws else "[green]Nothing lost, nothing kept without a reason."
    )


if __name__ == "__main__":
    chaos()
