"""The cursor of the feed: opaque to callers, (epoch, txid, seq) to us."""

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
