"""Objects that the database does not know come back into it, after it was restored to an earlier time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from service.domain.blob import MediaInfo, Sha256
from service.ports.blobs import HoldingJudge


@dataclass(frozen=True, slots=True)
class Stray:
    """Bytes without a row, read and found to hash to the name in their key; `size` in bytes."""

    key: str
    sha256: Sha256
    size: int
    media: MediaInfo


class Adopted(StrEnum):
    """What became of them.

    `adopted`: a blob of their own. `healed`: the blob was there, without its bytes. `spare`: the blob has its bytes,
    these are a copy more. `known`: a row came to be meanwhile.
    """

    ADOPTED = "adopted"
    HEALED = "healed"
    SPARE = "spare"
    KNOWN = "known"


class Adoption(Protocol):
    """Each call is one transaction with its events. Raises `Unavailable`."""

    async def adopt(self, stray: Stray, workspace: str | None, judge: HoldingJudge, keep_for: timedelta) -> Adopted:
        """Make the object a live one, as the blob's of its hash.

        A new blob is held by `workspace` as the judge says. Without a workspace, where the judge says None, and where
        its quota has no room, nobody holds it, and it is looked at again after `keep_for`. Raises `NotFound` for the
        workspace.
        """
