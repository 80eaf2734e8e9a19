"""`refkeep serve`, `refkeep dev` and `refkeep migrate`."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import click

from service.commands.form import Command, Exit
from service.commands.output import (
    json_option,
    plain_errors,
    print_json,
    refuse_read_only,
    settings_of_environment,
)
from service.commands.stopping import Serving

if TYPE_CHECKING:
    from service.settings import Settings


@click.command(
    cls=Serving,
    examples=("refkeep serve", "REFKEEP_PORT=9000 REFKEEP_WORKERS=4 refkeep serve --migrate"),
    statuses={Exit.DONE: "stopped in order, by SIGTERM or Ctrl-C"},
)
@click.option("--migrate", "migrate_first", is_flag=True, help="Bring the schema up to date before serving.")
@plain_errors
def serve(migrate_first: bool) -> None:
    """Serve HTTP until SIGTERM or Ctrl-C.

    Settings come from REFKEEP_* variables. Without REFKEEP_DATABASE_URL an embedded PostgreSQL is started in
    REFKEEP_DATA_DIR. A schema that is not this release's is refused: /readyz says so until `refkeep migrate` has run.
    """
    _serve(settings_of_environment(), migrate_first=migrate_first, with_demo=False)


@click.command(
    cls=Serving,
    examples=("refkeep dev", "REFKEEP_PORT=9000 REFKEEP_DATA_DIR=/tmp/media refkeep dev"),
    statuses={Exit.DONE: "stopped in order, by SIGTERM or Ctrl-C"},
    writes=True,
)
@plain_errors
def dev() -> None:
    """Serve with everything embedded: PostgreSQL and a folder under REFKEEP_DATA_DIR, a demo workspace, a key to try.

    The workspace and the key are written, so a read-only deployment has none: `refkeep serve` serves what is there.
    """
    import msgspec

    refuse_read_only()
    impatient = {} if "REFKEEP_DRAIN" in os.environ else {"drain": timedelta(0)}
    _serve(msgspec.structs.replace(settings_of_environment(), **impatient), migrate_first=True, with_demo=True)


@click.command(cls=Command, examples=("refkeep migrate", "refkeep migrate --json"))
@json_option
@plain_errors
def migrate(as_json: bool) -> None:
    """Bring the schema up to date; safe to run on several machines at once, and again.

    This is done where REFKEEP_READ_ONLY is set, too: it changes no data.
    """
    from service.adapters.postgres.migration import migrate as apply
    from service.commands.postgres import reachable_postgres

    with reachable_postgres(settings_of_environment()) as url:
        applied = asyncio.run(apply({"dsn": url}))
    if as_json:
        print_json({"applied": applied})
        return
    click.echo("\n".join(f"applied {name}" for name in applied) or "The schema is up to date.")


def _serve(settings: Settings, *, migrate_first: bool, with_demo: bool) -> None:
    from service.commands.starting import told_in_lines

    with told_in_lines(settings.log_format):
        _start(settings, migrate_first=migrate_first, with_demo=with_demo)


def _start(settings: Settings, *, migrate_first: bool, with_demo: bool) -> None:
    import msgspec

    from service.adapters.postgres.kept import kept_postgres
    from service.adapters.postgres.migration import migrate as apply
    from service.app import Deployment, create_app
    from service.commands.demo import DEMO, greet, prepare_demo, signing_key
    from service.schemas.policy_file import load_policies
    from service.server import check_address
    from service.server import serve as run_server

    load_policies(settings.policies)
    check_address(settings)
    with ExitStack() as stack:
        url = settings.database_url or stack.enter_context(kept_postgres(settings.data_dir, _tell, _stop))
        if migrate_first:
            asyncio.run(apply({"dsn": url}))
        defaults: dict[str, str] = {}
        if with_demo:
            credentials = asyncio.run(prepare_demo(settings, url))
            defaults = {credentials.id: DEMO}
            keys = settings.signing_keys or (signing_key(settings),)
            settings = msgspec.structs.replace(settings, signing_keys=keys)
            greet(settings, credentials)
        run_server(settings, partial(create_app, Deployment(settings, url, defaults)))


def _tell(sentence: str) -> None:
    import structlog

    structlog.get_logger("refkeep").warning("embedded_postgres", says=sentence)


def _stop() -> None:
    """End this process in order, as by a signal from outside."""
    os.kill(os.getpid(), signal.SIGTERM)
