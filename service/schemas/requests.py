"""What callers send as JSON; unknown members are refused."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from service.domain.policy import Visibility
from service.domain.slot import MAX_POSITION
from service.schemas.texts import HashText

MAX_HASHES = 1000
MAX_PAGE = 500
MAX_REF_IDS = 100
MAX_SIGNED_SECONDS = 7 * 24 * 3600
Filename = Annotated[str, msgspec.Meta(max_length=255)]
Owner = Annotated[str, msgspec.Meta(max_length=200)]
Position = Annotated[int, msgspec.Meta(ge=0, le=MAX_POSITION)]
Text = Annotated[str, msgspec.Meta(max_length=1000)]


class AttachFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The members beside bytes: as query parameters, or as text parts before `file`."""

    sha256: HashText | None = None
    filename: Filename | None = None
    alt: Text | None = None
    owner: Owner | None = None
    visibility: Visibility | None = None
    position: Position | None = None


class AttachRequest(AttachFields, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Attach bytes that were sent before. `position` is for POST alone: insert there."""

    sha256: HashText


class MissingRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask which of these must be sent."""

    sha256: Annotated[list[HashText], msgspec.Meta(max_length=MAX_HASHES)]


class MissingResult(msgspec.Struct, frozen=True):
    """What must be sent."""

    missing: list[HashText]


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query of a list: `cursor` is the `next` of an earlier page."""

    cursor: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = MAX_PAGE


class OrderRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The live refs of a role in their new order, each once."""

    ref_ids: list[UUID]


class RevisionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of a ref.

    What is left out stays as it is; null clears it, and gives `visibility` back to the policy's default.
    """

    filename: Filename | UnsetType | None = UNSET
    alt: Text | UnsetType | None = UNSET
    owner: Owner | UnsetType | None = UNSET
    visibility: Visibility | UnsetType | None = UNSET


class SignRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the address holds, in seconds; the end is rounded up to full 5 minutes."""

    expires_in: Annotated[int, msgspec.Meta(ge=1, le=MAX_SIGNED_SECONDS)] = 3600


class SignListRequest(SignRequest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose files to sign."""

    ref_ids: Annotated[list[UUID], msgspec.Meta(min_length=1, max_length=MAX_REF_IDS)]


class RestoreRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to do where the single slot is taken: `replace` sends the ref that is there to the trash."""

    on_conflict: Literal["replace"] | None = None
