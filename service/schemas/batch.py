"""Operations of a batch: each has the members of the call that it stands for, those of its path included."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import msgspec

from service.domain.policy import Visibility
from service.schemas.media import RefResult
from service.schemas.requests import Filename, Owner, Position, RevisionRequest, Text
from service.schemas.texts import HashText

MAX_OPERATIONS = 100
Version = Annotated[int, msgspec.Meta(ge=0)] | str
"""An entity's version as a number, or as `If-Match` has it."""


class _Operation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", kw_only=True):
    if_match: Version | None = None


class PutOperation(_Operation, tag="put", frozen=True, kw_only=True):
    """Fill a slot; with `if_none_match` only an empty one."""

    entity_type: str
    entity_id: str
    role: str
    position: Position
    sha256: HashText
    filename: Filename | None = None
    alt: Text | None = None
    owner: Owner | None = None
    visibility: Visibility | None = None
    if_none_match: Literal["*"] | None = None


class AppendOperation(_Operation, tag="append", frozen=True, kw_only=True):
    """Append to a role; with `position` insert there."""

    entity_type: str
    entity_id: str
    role: str
    sha256: HashText
    position: Position | None = None
    filename: Filename | None = None
    alt: Text | None = None
    owner: Owner | None = None
    visibility: Visibility | None = None


class OrderOperation(_Operation, tag="order", frozen=True, kw_only=True):
    """Put a role in another order."""

    entity_type: str
    entity_id: str
    role: str
    ref_ids: list[UUID]


class ReleaseOperation(_Operation, tag="release", frozen=True, kw_only=True):
    """Release the ref `ref_id`; or of an entity all refs, those of `role`, the one at `position` of it."""

    ref_id: UUID | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    role: str | None = None
    position: Position | None = None


class RestoreOperation(_Operation, tag="restore", frozen=True, kw_only=True):
    """Bring a ref back from the trash."""

    ref_id: UUID
    on_conflict: Literal["replace"] | None = None


class PatchOperation(RevisionRequest, tag="patch", tag_field="op", frozen=True, kw_only=True):
    """Change what a live ref says."""

    ref_id: UUID
    if_match: Version | None = None


Operation = PutOperation | AppendOperation | OrderOperation | ReleaseOperation | RestoreOperation | PatchOperation


class BatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Operations in the order in which they happen, all of them or none."""

    operations: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MAX_OPERATIONS)]


class BatchResult(msgspec.Struct, frozen=True):
    """The outcome of each operation, in their order."""

    results: list[RefResult]
