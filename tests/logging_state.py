"""The process's logging as a test found it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from service.observability import outlets


@contextmanager
def logging_restored() -> Iterator[None]:
    """Put the set-up of structlog, of the root logger and of records back afterwards."""
    root, records = logging.getLogger(), outlets()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers, root.level = handlers, level
        structlog.reset_defaults()
        sys.modules["service.observability.outlets"]._outlets = records  # type: ignore[attr-defined]
