"""Why bytes are still there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from service.domain.blob import Sha256
from service.domain.slot import EntityKey


class ReasonKind(StrEnum):
    """What keeps a blob alive.

    A holding's lease; a live or a trashed ref that shows it; a ref, live or trashed, whose original it is; another blob
    that it is a rendition of; a hold.
    """

    HOLDING = "holding"
    REF = "ref"
    TRASH = "trash"
    ORIGINAL = "original"
    RENDITION = "rendition"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class UsedBy:
    """The ref of a reason."""

    ref_id: UUID
    entity: EntityKey
    role: str


@dataclass(frozen=True, slots=True)
class Reason:
    """`until` is when it ends by itself, None where somebody must end it; `workspace` None for holds and renditions.

    `parent` is the blob that a rendition was made of, `definition` the preset's; renditions are told only where all
    workspaces are asked for.
    """

    kind: ReasonKind
    workspace: str | None
    since: datetime
    until: datetime | None
    used_by: UsedBy | None = None
    parent: Sha256 | None = None
    definition: str | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """A physical copy in the store and how far it has come; a condemned one goes after `delete_after`."""

    state: str
    size: int
    created_at: datetime
    delete_after: datetime | None


@dataclass(frozen=True, slots=True)
class BlobReasons:
    """All reasons, the strongest kinds first, capped at 1,000 (`complete` says whether it is all of them).

    Of a workspace with more refs than that the oldest are told.

    `next_review` is when the collector looks at it next, None while nothing but a change will bring it to look.
    `copies` are told only where all workspaces are asked for.
    """

    reasons: tuple[Reason, ...]
    complete: bool
    next_review: datetime | None
    copies: tuple[Copy, ...]


class Reasons(Protocol):
    """Looks at one blob."""

    async def of_blob(self, sha256: Sha256, workspace: str | None) -> BlobReasons | None:
        """Every reason of one workspace, or of all for None. None where that workspace does not hold it.

        Where all are asked for, None means that there is neither a reason nor a copy.
        """
