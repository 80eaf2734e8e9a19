"""Keys without a row, put aside until all keys were seen: there may be more of them than memory takes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Self

from service.ports.storage import StoredObject

_IN_MEMORY = 1024 * 1024


class Strays:
    """Listed objects in the order in which they were put aside; forgotten at the end of the block."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY, "w+")  # noqa: SIM115 - closed with the block
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._file.close()

    def add(self, stored: StoredObject) -> None:
        """Put one aside."""
        self._file.write(f"{stored.key} {stored.size} {stored.modified_at.isoformat()}\n")
        self.count += 1

    def pages(self, size: int) -> Iterator[list[StoredObject]]:
        """All of them, up to `size` at a time."""
        self._file.seek(0)
        while lines := list(islice(self._file, size)):
            yield [_read(line) for line in lines]


def _read(line: str) -> StoredObject:
    key, size, modified_at = line.split()
    return StoredObject(key, int(size), datetime.fromisoformat(modified_at))
