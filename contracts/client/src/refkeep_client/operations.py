"""Operations of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from refkeep_client.keys import EntityKey, RoleKey, SlotKey
from refkeep_client.options import VisibilityWord


@dataclass(frozen=True, slots=True, kw_only=True)
class PutRef:
    """Fill a slot with bytes that were sent before; with `if_empty` only an empty one."""

    slot: SlotKey
    sha256: str
    filename: str | None = None
    alt: str | None = None
    owner: str | None = None
    visibility: VisibilityWord | None = None
    if_match: int | None = None
    if_empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendRef:
    """Append to a role; with `position` insert there."""

    role: RoleKey
    sha256: str
    position: int | None = None
    filename: str | None = None
    alt: str | None = None
    owner: str | None = None
    visibility: VisibilityWord | None = None
    if_match: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRefs:
    """Put the live refs of a role in another order."""

    role: RoleKey
    ref_ids: tuple[UUID | str, ...]
    if_match: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Release one ref, a slot, a role, or all of an entity."""

    what: UUID | SlotKey | RoleKey | EntityKey
    if_match: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """Bring a ref back from the trash."""

    ref_id: UUID | str
    on_conflict: Literal["replace"] | None = None
    if_match: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Change what a ref says: `changes` has the members to set, None clears."""

    ref_id: UUID | str
    changes: dict[str, str | None]
    if_match: int | None = None


Operation = PutRef | AppendRef | OrderRefs | Release | Restore | Patch
