"""Holds, workspaces and reasons as callers see them."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from service.application.get_workspace import WorkspaceUse
from service.domain.blob import Sha256
from service.domain.hold import Hold, HoldKind
from service.ports.access import Workspace
from service.ports.reasons import BlobReasons, Copy, Reason, ReasonKind
from service.schemas.events import rfc3339
from service.schemas.texts import HashText, TimeText

Limit = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class HoldRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keep bytes from being served, taken and removed.

    `status` is what readers get; without it 404 for `quarantine`, 451 for `legal`.
    """

    kind: HoldKind
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    status: Literal[404, 451] | None = None


class HoldDocument(msgspec.Struct, frozen=True):
    """A hold; `actor` placed it, or changed it last."""

    sha256: HashText
    kind: HoldKind
    status: int
    reason: str
    actor: str
    placed_at: TimeText


class Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most that a workspace may hold, in bytes and in blobs; null is no limit."""

    max_bytes: Limit | None = None
    max_items: Limit | None = None


class UseQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether to count `physical_bytes`, too; for operators it is unless they say otherwise."""

    physical: Literal["true", "false"] | None = None


class Use(msgspec.Struct, frozen=True):
    """What a workspace uses.

    `logical_bytes` and `items` are what its quota counts: every blob it holds, at full size. `physical_bytes` is its
    share of the store, where blobs that several workspaces hold are divided among them; null for all but operators, and
    where it was not counted.
    """

    logical_bytes: int
    items: int
    physical_bytes: int | None = None


class WorkspaceDocument(msgspec.Struct, frozen=True):
    """A workspace, its quota and its use."""

    slug: str
    quota: Quota
    used: Use
    created_at: TimeText


class ReasonDocument(msgspec.Struct, frozen=True):
    """Something that keeps a blob alive.

    `until` is when it ends by itself, null where somebody must end it; a rendition has one when no preset would make
    it any more. Then come those of a ref, live or in the trash; `parent` is the blob that a rendition was made of, told
    to operators.
    """

    kind: ReasonKind
    workspace: str | None
    since: TimeText
    until: TimeText | None
    ref_id: UUID | None
    entity_type: str | None
    entity_id: str | None
    role: str | None
    parent: HashText | None


class CopyDocument(msgspec.Struct, frozen=True):
    """A physical copy: a condemned one leaves the store after `delete_after`."""

    state: str
    size: int
    created_at: TimeText
    delete_after: TimeText | None


class ReasonsDocument(msgspec.Struct, frozen=True):
    """Why bytes are still there.

    `complete` is false where there are more reasons than are told; `next_review` is when the collector looks at them
    next, null while nothing but a change will bring it to look. `copies` are told to operators.
    """

    sha256: HashText
    reasons: list[ReasonDocument]
    complete: bool
    next_review: TimeText | None
    copies: list[CopyDocument] | UnsetType = UNSET


def hold_document(hold: Hold) -> HoldDocument:
    """A hold as operators see it."""
    return HoldDocument(hold.sha256, hold.kind, hold.status, hold.reason or "", hold.actor, rfc3339(hold.placed_at))


def workspace_document(workspace: Workspace, physical_bytes: int | None = None) -> WorkspaceDocument:
    """A workspace."""
    quota = Quota(workspace.max_bytes, workspace.max_items)
    use = Use(workspace.used_bytes, workspace.used_items, physical_bytes)
    return WorkspaceDocument(workspace.slug, quota, use, rfc3339(workspace.created_at))


def use_document(use: WorkspaceUse) -> WorkspaceDocument:
    """A workspace with its use."""
    return workspace_document(use.workspace, use.physical_bytes)


def reasons_document(sha256: Sha256, found: BlobReasons, *, copies: bool) -> ReasonsDocument:
    """The reasons of a blob; with its copies for those who see all workspaces."""
    due = None if found.next_review is None else rfc3339(found.next_review)
    reasons = [_reason(reason) for reason in found.reasons]
    told = [_copy(copy) for copy in found.copies] if copies else UNSET
    return ReasonsDocument(sha256, reasons, found.complete, due, told)


def _reason(reason: Reason) -> ReasonDocument:
    ref, until = reason.used_by, None if reason.until is None else rfc3339(reason.until)
    return ReasonDocument(
        kind=reason.kind,
        workspace=reason.workspace,
        since=rfc3339(reason.since),
        until=until,
        ref_id=None if ref is None else ref.ref_id,
        entity_type=None if ref is None else ref.entity.type,
        entity_id=None if ref is None else ref.entity.id,
        role=None if ref is None else ref.role,
        parent=reason.parent,
    )


def _copy(copy: Copy) -> CopyDocument:
    delete_after = None if copy.delete_after is None else rfc3339(copy.delete_after)
    return CopyDocument(copy.state, copy.size, rfc3339(copy.created_at), delete_after)
