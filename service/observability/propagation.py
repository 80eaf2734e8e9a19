"""Whose trace a request continues, in the formats that OTEL_PROPAGATORS names.

OpenTelemetry reads it as it is imported, and raises for a format that is not installed: clusters set b3 for everybody,
which must keep nothing from its start. So whoever imports `opentelemetry.propagate` calls `prepare_propagation` first.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.propagators.textmap import TextMapPropagator

SETTING: Final = "OTEL_PROPAGATORS"


def unknown_propagators(environ: Mapping[str, str]) -> list[str]:
    """Names of formats that are asked for and not installed."""
    return [name for name in _asked(environ) if name.lower() != "none" and not _is_installed(name)]


def prepare_propagation() -> None:
    """Leave out what is not installed, with a warning; again, it changes nothing."""
    unknown = unknown_propagators(os.environ)
    if unknown:
        known = [name for name in _asked(os.environ) if name not in unknown]
        os.environ[SETTING] = ",".join(known or ["none"])
        logging.getLogger("refkeep").warning("%s: not installed, and left out: %s", SETTING, ", ".join(unknown))


def extract(carrier: Mapping[str, str]) -> Context:
    """The context that these headers tell of."""
    return _understood().extract(carrier)


@cache
def _understood() -> TextMapPropagator:
    prepare_propagation()
    from opentelemetry import propagate  # noqa: PLC0415 - see above

    return propagate.get_global_textmap()


def _asked(environ: Mapping[str, str]) -> list[str]:
    return [name.strip() for name in environ[SETTING].split(",")] if SETTING in environ else []


def _is_installed(name: str) -> bool:
    return bool(entry_points(group="opentelemetry_propagator", name=name))
