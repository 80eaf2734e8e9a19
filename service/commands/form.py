"""The form of every command: what it does, examples, and the exit statuses that scripts may rely on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

import click


class Exit(IntEnum):
    """How a command ends; a status means the same in every command, but for 3 and 4, whose help says what they mean."""

    DONE = 0
    FAULT = 1
    USAGE = 2
    REFUSED = 3
    NOT_WELL = 4
    READ_ONLY = 5
    DEFECT = 70
    INTERRUPTED = 130
    BROKEN_PIPE = 141


MEANING: Mapping[Exit, str] = {
    Exit.DONE: "done",
    Exit.FAULT: "a fault, told in a sentence: repair it, or run the command again",
    Exit.USAGE: "a wrong option, argument or setting; nothing was done",
    Exit.REFUSED: "not done, or not so: the command's help says why",
    Exit.NOT_WELL: "done, and something is wrong still: see the report",
    Exit.READ_ONLY: "nothing was changed, because REFKEEP_READ_ONLY is set",
    Exit.DEFECT: "a defect of Refkeep; PYTHONDEVMODE=1 shows where",
    Exit.INTERRUPTED: "stopped by Ctrl-C",
    Exit.BROKEN_PIPE: "whoever read the output went away",
}
EVERY = (Exit.DONE, Exit.FAULT, Exit.USAGE, Exit.DEFECT, Exit.INTERRUPTED, Exit.BROKEN_PIPE)
"""What any command may end with."""
_SHOWN = (Exit.DONE, Exit.FAULT, Exit.USAGE)


class Command(click.Command):
    """A command whose help has examples and exit statuses.

    `examples` are lines for a shell. `statuses` are those beside `EVERY`, or what one of these means here; `writes`
    adds that of a read-only deployment.
    """

    def __init__(
        self,
        *args: Any,
        examples: Iterable[str] = (),
        statuses: Mapping[Exit, str] | None = None,
        writes: bool = False,
        **attributes: Any,
    ) -> None:
        super().__init__(*args, **attributes)
        self.examples = tuple(examples)
        refusal = {Exit.READ_ONLY: MEANING[Exit.READ_ONLY]} if writes else {}
        own = dict(statuses or {}) | refusal
        self.statuses = dict(sorted(({each: MEANING[each] for each in _SHOWN} | own).items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; whoever is its root may have something to set up first."""
        if callable(ctx.obj):
            ctx.obj()
        return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Command`."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
        with formatter.section("Exit status"):
            formatter.write_dl([(str(int(status)), meaning) for status, meaning in self.statuses.items()])


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
