"""What became of each row: a file with all of them, and the first that were not imported for the screen."""

from __future__ import annotations

import csv
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

import click
import msgspec

if TYPE_CHECKING:
    from rich.progress import Progress

    from service.application.import_entity import RowResult

COLUMNS = (
    "line", "outcome", "source_id", "workspace", "entity_type", "entity_id", "role", "position", "ref_id", "sha256",
    "code", "detail",
)  # fmt: skip
SHOWN = 50
_EVERY_SECONDS = 5.0


def row_document(result: RowResult) -> dict[str, object]:
    """A row of the report, by `COLUMNS`."""
    entity, reason = result.entity, result.reason
    values = (
        result.line,
        result.verdict.value,
        result.source_id,
        None if entity is None else entity.workspace,
        None if entity is None else entity.type,
        None if entity is None else entity.id,
        result.role,
        result.position,
        None if result.ref_id is None else str(result.ref_id),
        result.sha256,
        None if reason is None else reason.code,
        None if reason is None else reason.detail,
    )
    return dict(zip(COLUMNS, values, strict=True))


class Report:
    """Takes results; `told` has the first that were not imported, without those that were there already.

    `fault` is why the file is not whole, None while it is.
    """

    def __init__(self, file: IO[str] | None, *, as_csv: bool) -> None:
        self._file, self._as_csv = file, as_csv
        self._csv = None if file is None or not as_csv else csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if self._csv is not None:
            self._csv.writeheader()
        self.told: list[dict[str, object]] = []
        self.untold = 0
        self.fault: OSError | None = None

    @classmethod
    @contextmanager
    def opened(cls, path: Path | None, manifest: Path) -> Iterator[Report]:
        """A report to this file, or to none.

        A name that says no form, the manifest under whatever name, and a file that cannot be opened end the command
        with status 2. What cannot be written later does not end the import: see `fault`.
        """
        if path is None:
            yield cls(None, as_csv=False)
            return
        if path.suffix not in {".csv", ".ndjson", ".jsonl"}:
            raise click.UsageError("A report is a file .csv or .ndjson.")
        report = cls(_opened(path, manifest), as_csv=path.suffix == ".csv")
        try:
            yield report
        finally:
            report.close()

    def take(self, results: Sequence[RowResult]) -> None:
        """Write results down."""
        for result in results:
            document = row_document(result)
            if self.fault is None:
                self._write(document)
            if result.verdict not in {"imported", "noop"}:
                self._tell(document)

    def close(self) -> None:
        """Have everything in the file, or know the `fault`."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self.fault = error

    def _write(self, document: dict[str, object]) -> None:
        try:
            if self._csv is not None:
                self._csv.writerow(document)
            elif self._file is not None:
                self._file.write(msgspec.json.encode(document).decode() + "\n")
        except OSError as error:
            self.fault = error

    def _tell(self, document: dict[str, object]) -> None:
        if len(self.told) < SHOWN:
            self.told.append(document)
        else:
            self.untold += 1


def _opened(path: Path, manifest: Path) -> IO[str]:
    try:
        if path.exists() and os.path.samestat(path.stat(), _stat(manifest)):
            raise click.UsageError("The report would take the place of the manifest.")
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise click.UsageError(f"The report cannot be written: {error.strerror}.") from error


def _stat(manifest: Path) -> os.stat_result:
    return os.fstat(0) if str(manifest) == "-" else manifest.stat()


class RowProgress:
    """How far it is, on standard error: a bar on a terminal, elsewhere a line every few seconds and at the end."""

    def __init__(self, rows: int) -> None:
        self._rows, self._done = rows, Counter[str]()
        self._bar = _bar() if sys.stderr.isatty() else None
        self._task = None if self._bar is None else self._bar.add_task("Importing", total=rows)
        self._next = time.monotonic() + _EVERY_SECONDS

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        else:
            self._say()

    def take(self, results: Sequence[RowResult]) -> None:
        """Count results."""
        self._done.update(result.verdict.value for result in results)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done.total())
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY_SECONDS
            self._say()

    def _say(self) -> None:
        parts = ", ".join(f"{count} {name}" for name, count in sorted(self._done.items()))
        click.echo(f"{self._done.total()} of {self._rows} rows{': ' if parts else ''}{parts}", err=True)


def _bar() -> Progress:
    from rich import progress
    from rich.console import Console

    amount = progress.BarColumn(), progress.MofNCompleteColumn()
    time = progress.TimeElapsedColumn(), progress.TimeRemainingColumn()
    return progress.Progress(progress.TextColumn("{task.description}"), *amount, *time, console=Console(stderr=True))
