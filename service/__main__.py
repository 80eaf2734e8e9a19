"""The command `refkeep`."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

import click

_COMMANDS: Final = {
    "serve": "service.commands.serving:serve",
    "dev": "service.commands.serving:dev",
    "migrate": "service.commands.serving:migrate",
    "keys": "service.commands.keys:keys",
    "workspaces": "service.commands.keys:workspaces",
    "policies": "service.commands.policies:policies",
    "gc": "service.commands.collection:gc",
    "events": "service.commands.events:events",
    "fsck": "service.commands.repair:fsck",
    "scrub": "service.commands.repair:scrub",
    "migrate-store": "service.commands.moving:migrate_store",
    "import": "service.commands.imports:imports",
    "openapi": "service.commands.openapi:openapi",
}


class _Lazy(click.Group):
    """Imports a command when it is asked for: children of this process load this file too, and need none of them."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command = getattr(import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{_COMMANDS[cmd_name]} is no command")
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="refkeep", prog_name="refkeep")
def main() -> None:
    """Refkeep keeps media for as long as something refers to it."""
    from service.telemetry.logs import configure_logs

    configure_logs("console", "warning", sys.stderr.buffer)


if __name__ == "__main__":
    main()
