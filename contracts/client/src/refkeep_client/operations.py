"""Operations of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal
from uuid import UUID

from refkeep_client.keys import EntityKey, RoleKey, SlotKey
from refkeep_client.options import VisibilityWord
from refkeep_client.texts import checked_sha256, ref_id_text


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
    changes: Mapping[str, str | None]
    if_match: int | None = None


Operation = PutRef | AppendRef | OrderRefs | Release | Restore | Patch


def members_of(operation: Operation) -> dict[str, object]:
    """The operation as a batch takes it. Raises `ValueError` for a malformed hash or id."""
    members = {name: value for name, value in _members(operation).items() if value is not None}
    if operation.if_match is not None:
        members["if_match"] = operation.if_match
    return {**members, **operation.changes} if isinstance(operation, Patch) else members


def _members(operation: Operation) -> dict[str, object]:
    match operation:
        case PutRef():
            only_empty = "*" if operation.if_empty else None
            return {"op": "put", **asdict(operation.slot), **_labels(operation), "if_none_match": only_empty}
        case AppendRef():
            position = operation.position
            return {"op": "append", **asdict(operation.role), **_labels(operation), "position": position}
        case OrderRefs():
            return {
                "op": "order",
                **asdict(operation.role),
                "ref_ids": [ref_id_text(each) for each in operation.ref_ids],
            }
        case Release():
            what = operation.what
            return {"op": "release", **({"ref_id": str(what)} if isinstance(what, UUID) else asdict(what))}
        case Restore():
            return {"op": "restore", "ref_id": ref_id_text(operation.ref_id), "on_conflict": operation.on_conflict}
        case Patch():
            return {"op": "patch", "ref_id": ref_id_text(operation.ref_id)}


def _labels(operation: PutRef | AppendRef) -> dict[str, object]:
    return {
        "sha256": checked_sha256(operation.sha256),
        "filename": operation.filename,
        "alt": operation.alt,
        "owner": operation.owner,
        "visibility": operation.visibility,
    }
