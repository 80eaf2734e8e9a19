"""Cursors: opaque to callers; to us (epoch, txid, seq) in the feed, (role, position) in a list of refs."""

from __future__ import annotations

import re
from typing import NamedTuple, Self

from service.domain.errors import BadCursor

_CURSOR = re.compile(r"([0-9a-f]{1,8})-([0-9a-f]{1,16})-([0-9a-f]{1,8})")
_LARGEST = (2**31 - 1, 2**63 - 1, 2**31 - 1)


class Cursor(NamedTuple):
    """The place of an event; all that sort after it are still to be read."""

    epoch: int
    txid: int
    seq: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raise `BadCursor` for anything that `str` of a cursor did not make."""
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise BadCursor
        cursor = cls(*(int(part, 16) for part in match.groups()))
        if str(cursor) != text or any(part > most for part, most in zip(cursor, _LARGEST, strict=True)):
            raise BadCursor
        return cursor

    def __str__(self) -> str:
        return f"{self.epoch:x}-{self.txid:x}-{self.seq:x}"


START = Cursor(0, 0, 0)
"""Before the first event: epochs count from 1."""


_PLACE = re.compile(r"([a-z][a-z0-9_]{0,63})-(0|[1-9][0-9]{0,8})")


def parse_place(text: str) -> tuple[str, int]:
    """The role and position of `place_cursor`. Raises `BadCursor`."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise BadCursor
    return match[1], int(match[2])


def place_cursor(role: str, position: int) -> str:
    """Where a list of refs goes on: behind this place."""
    return f"{role}-{position}"
