"""The cursor of lists of refs: opaque to callers, the last ref of a page to us."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self
from uuid import UUID

from service.domain.errors import BadCursor
from service.domain.ref import Ref

_CURSOR = re.compile(r"(?:([0-9a-f]{1,12})-)?([0-9a-f]{32})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class MediaCursor(NamedTuple):
    """The place of a ref in its list: `trashed_at` only in the list of the trash, which goes by that."""

    trashed_at: datetime | None
    ref_id: UUID

    @classmethod
    def of(cls, ref: Ref, *, by_trashed_at: bool) -> Self:
        """The place of a ref."""
        return cls(ref.trashed_at if by_trashed_at else None, ref.ref_id)

    @classmethod
    def parse(cls, text: str, *, by_trashed_at: bool) -> Self:
        """Raise `BadCursor` for anything that `str` of a cursor of such a list did not make."""
        match = _CURSOR.fullmatch(text)
        if match is None or (match[1] is not None) is not by_trashed_at:
            raise BadCursor
        try:
            trashed_at = None if match[1] is None else _EPOCH + int(match[1], 16) * _MILLISECOND
        except OverflowError:
            raise BadCursor from None
        cursor = cls(trashed_at, UUID(match[2]))
        if str(cursor) != text:
            raise BadCursor
        return cursor

    def __str__(self) -> str:
        time = "" if self.trashed_at is None else f"{(self.trashed_at - _EPOCH) // _MILLISECOND:x}-"
        return f"{time}{self.ref_id.hex}"
