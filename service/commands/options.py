"""Values of options: the same forms that settings have."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan
from typing import Any

import click

from service import setting_forms as forms


class Form(click.ParamType[object]):
    """A text that `read` takes, `ValueError` for any other; `example` for people."""

    def __init__(self, name: str, read: Callable[[str], object], example: str) -> None:
        self.name, self._read, self._example = name, read, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """See `click.ParamType`; a default has its form already."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value.strip())
        except ValueError:
            self.fail(f"{value[:80]!r} is not {self._example}.", param, ctx)


DURATION = Form("duration", forms.duration, "a duration such as 30d, 24h, 90m, 60s or 250ms")
SIZE = Form("size", forms.size, "a size such as 5 GiB, 512 MiB or 1000000")


class _Number(click.FloatRange):
    """Within its bounds; `nan`, which click takes for a number within any, would be a limit that nothing exceeds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See `click.ParamType`."""
        number: float = super().convert(value, param, ctx)
        if isnan(number):
            self.fail(f"{value!r} is not in the range.", param, ctx)
        return number


PERCENT = _Number(0, 100)
PACE = _Number(0, min_open=True)
QUOTA = click.IntRange(0, 2**63 - 1)
"""What a bigint of the database takes, as in the API."""
