"""The command `refkeep`."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, NamedTuple

import click


class _Entry(NamedTuple):
    """Where a command is, and what the list of commands says of it."""

    place: str
    does: str


_COMMANDS: Final = {
    "serve": _Entry("serving:serve", "Serve HTTP until SIGTERM or Ctrl-C."),
    "dev": _Entry("serving:dev", "Serve with everything embedded, and a key to try."),
    "migrate": _Entry("serving:migrate", "Bring the schema up to date."),
    "doctor": _Entry("doctor:doctor", "Say what is wrong with a deployment, and what to do about it."),
    "keys": _Entry("keys:keys", "API keys: make them, see them, end them."),
    "workspaces": _Entry("keys:workspaces", "Workspaces: the tenants, their quotas and what they use."),
    "policies": _Entry("policies:policies", "Policies: what each (entity type, role) accepts."),
    "gc": _Entry("collection:gc", "Collection: what nothing refers to goes, after a while."),
    "events": _Entry("events:events", "The event log: every decision that was taken."),
    "fsck": _Entry("repair:fsck", "Hold the database and the store against each other."),
    "scrub": _Entry("repair:scrub", "Read what lies in the store, and mark what was damaged."),
    "migrate-store": _Entry("moving:migrate_store", "Move all bytes to another store while everything runs."),
    "import": _Entry("imports:imports", "Imports: refs of what another system has."),
    "openapi": _Entry("openapi:openapi", "Print the OpenAPI document."),
}


class _Lazy(click.Group):
    """Imports a command when it is asked for: children of this process load this file too, and need none of them."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].place.partition(":")
        command = getattr(import_module(f"service.commands.{module}"), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{_COMMANDS[cmd_name].place} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - see click
        """The list, without an import of any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.does) for name, entry in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Group`; whatever happens, a script can tell the ends apart."""
        from service.commands.ending import told_apart

        with told_apart():
            return super().invoke(ctx)


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done, 1 a fault, 2 a wrong option or setting; a command's help names its others.",
)
@click.version_option(package_name="refkeep", prog_name="refkeep")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Refkeep keeps media for as long as something refers to it."""
    from service.commands.logs import defer_logs

    ctx.obj = defer_logs


if __name__ == "__main__":
    main()
