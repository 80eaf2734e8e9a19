"""Reading a manifest into a worklist, line by line: of a file of any length a few MiB are in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

if TYPE_CHECKING:
    from service.adapters.sqlite.worklist import SqliteWorklist


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that was read: its rows, how many they are, and the SHA-256 of its bytes."""

    name: str
    worklist: SqliteWorklist
    rows: int
    sha256: str


@contextmanager
def read_manifest(path: Path) -> Iterator[Manifest]:
    """Read all of it; `-` is standard input. A manifest that cannot be read ends the command with status 2."""
    from service.adapters.sqlite.worklist import SqliteWorklist

    worklist = SqliteWorklist()
    try:
        with nullcontext(sys.stdin.buffer) if _is_stdin(path) else path.open("rb") as file:
            digest = _fill(worklist, file)
        yield Manifest("standard input" if _is_stdin(path) else path.name, worklist, worklist.settle(), digest)
    finally:
        worklist.close()


def folder_of(path: Path) -> Path:
    """Where relative paths of a manifest begin."""
    return Path.cwd() if _is_stdin(path) else path.parent.absolute()


def _is_stdin(path: Path) -> bool:
    return str(path) == "-"


def _fill(worklist: SqliteWorklist, file: IO[bytes]) -> str:
    """The SHA-256 of what was read."""
    from service.ports.worklist import Mistake
    from service.schemas.manifest import MAX_LINE, ManifestUnreadable, parse_manifest

    digest = sha256()
    try:
        for entry in parse_manifest(enumerate(_lines(file, MAX_LINE, digest.update), 1)):
            if isinstance(entry, Mistake):
                worklist.add_mistake(entry)
            else:
                worklist.add(entry)
    except ManifestUnreadable as error:
        raise click.UsageError(f"The manifest cannot be read. {error}") from error
    return digest.hexdigest()


def _lines(file: IO[bytes], longest: int, seen: Callable[[bytes], None]) -> Iterator[bytes | None]:
    """The lines with their ends, None for one that is too long."""
    while line := file.readline(longest + 1):
        seen(line)
        if len(line) <= longest:
            yield line
            continue
        while not line.endswith(b"\n") and (line := file.readline(longest + 1)):
            seen(line)
        yield None
