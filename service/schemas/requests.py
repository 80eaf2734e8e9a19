"""What callers send as JSON; unknown members are refused."""

from __future__ import annotations

from typing import Annotated

import msgspec

from service.domain.policy import Visibility
from service.domain.slot import MAX_POSITION
from service.schemas.texts import HashText

MAX_HASHES = 1000
MAX_PAGE = 500
Text = Annotated[str, msgspec.Meta(max_length=1000)]


class AttachFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The members beside bytes: as query parameters, or as text parts before `file`."""

    sha256: HashText | None = None
    filename: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    alt: Text | None = None
    owner: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    visibility: Visibility | None = None
    position: Annotated[int, msgspec.Meta(ge=0, le=MAX_POSITION)] | None = None


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
