"""Refs: each one use of a blob, filling a slot while it lives and kept in the trash after that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from unicodedata import category
from uuid import UUID

from service.domain.blob import Blob, Sha256
from service.domain.errors import BadName
from service.domain.policy import Visibility
from service.domain.slot import EntityKey

_REF_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class RefState(StrEnum):
    """Live refs fill a slot; trashed ones keep their blob alive until they are purged."""

    LIVE = "live"
    TRASHED = "trashed"


def parse_ref_id(text: str) -> UUID:
    """The id of a ref; raise `BadName` for any spelling but the one that the service itself uses (RFC 9562 §4)."""
    if _REF_ID.fullmatch(text) is None:
        raise BadName("ref_id", text)
    return UUID(text)


@dataclass(frozen=True, slots=True)
class Labels:
    """What a ref says about its bytes; None where its writer said nothing."""

    filename: str | None = None
    alt: str | None = None
    owner: str | None = None


def parse_labels(filename: str | None, alt: str | None, owner: str | None) -> Labels:
    """The labels, each without surrounding space; raise `BadName` for control characters, which no page can show."""
    given = {"filename": filename, "alt": alt, "owner": owner}
    return Labels(**{name: None if text is None else _printable(text, name) for name, text in given.items()})


def _printable(text: str, what: str) -> str:
    if any(category(character) in {"Cc", "Cs"} for character in text):
        raise BadName(what, text)
    return text.strip()


@dataclass(frozen=True, slots=True)
class Original:
    """What was sent, where a ref shows what was made of it; `kept` when the ref keeps those bytes, too, privately."""

    sha256: Sha256
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Ref:
    """A ref as the log tells it.

    `position` is None in the trash, where `former_position` remembers it for a restore; `trashed_at` and `purge_after`
    are None while it lives; `original` is None where it shows what was sent. Times are UTC with milliseconds.
    """

    ref_id: UUID
    entity: EntityKey
    role: str
    position: int | None
    state: RefState
    visibility: Visibility
    sha256: Sha256
    labels: Labels
    created_at: datetime
    trashed_at: datetime | None = None
    purge_after: datetime | None = None
    former_position: int | None = None
    original: Original | None = None


def kept_by(ref: Ref) -> frozenset[Sha256]:
    """The blobs whose holdings the ref keeps: what it shows, and its original where that is kept."""
    original = ref.original
    return frozenset({ref.sha256, original.sha256} if original is not None and original.kept else {ref.sha256})


@dataclass(frozen=True, slots=True)
class ResolvedRef:
    """A ref together with the blob that it resolves to."""

    ref: Ref
    blob: Blob


@dataclass(frozen=True, slots=True)
class Holding:
    """A workspace has sent these bytes, `size` of them; without a ref they stay until `lease_until`."""

    workspace: str
    sha256: Sha256
    size: int
    acquired_at: datetime
    lease_until: datetime
