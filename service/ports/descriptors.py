"""What delivery must know before it serves bytes: facts about one blob or one ref, as one workspace sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from service.domain.blob import Sha256
from service.domain.errors import BytesCorrupt, ObjectMissing
from service.domain.health import Health
from service.domain.policy import RoleRule, Visibility
from service.domain.ref import RefState


@dataclass(frozen=True, slots=True)
class ServableBytes:
    """Bytes that can be served: their name, `size` in bytes, the type found in them, where the store keeps them.

    Those that are marked missing or corrupt are a fault of the service until they are healed.
    """

    sha256: Sha256
    size: int
    media_type: str
    storage_key: str
    health: Health = Health.OK

    def check_health(self) -> None:
        """Raise `ObjectMissing` or `BytesCorrupt` for marked bytes; the store is not asked."""
        if self.health is Health.MISSING:
            raise ObjectMissing(self.storage_key)
        if self.health is Health.CORRUPT:
            raise BytesCorrupt


@dataclass(frozen=True, slots=True)
class BlobDescriptor:
    """A blob: `public` when a live public ref of any workspace points to it, `held` when the asker holds it.

    `hold` is the HTTP status of an operator's hold, None where there is none.
    """

    content: ServableBytes
    public: bool
    held: bool
    hold: int | None = None


@dataclass(frozen=True, slots=True)
class MediaDescriptor:
    """A ref and its bytes: `owned` when it belongs to the asking workspace; `created_at` is the ref's, in UTC.

    `hold` as for a blob.
    """

    ref_id: UUID
    content: ServableBytes
    visibility: Visibility
    state: RefState
    owned: bool
    filename: str | None
    created_at: datetime
    entity_type: str
    role: str
    hold: int | None = None


@dataclass(frozen=True, slots=True)
class PurgedMedia:
    """The tombstone of a purged ref: `owned` when it belonged to the asking workspace."""

    owned: bool


@dataclass(frozen=True, slots=True)
class Admission:
    """Which refs to a blob admit what was asked: a live public one of any workspace, any one of the asker's own."""

    public: bool
    own: bool


class Descriptors(Protocol):
    """Looks up what may be served, in one round trip where there is something; who may have it its caller decides.

    `workspace` is the slug of the asking workspace, None for an anonymous caller, to whom nothing is `held` or `owned`.
    All raise `Unavailable` when the database does not answer: that is never an absence.
    """

    async def of_blob(self, sha256: Sha256, workspace: str | None) -> BlobDescriptor | None:
        """Describe a blob, None where no row of it exists."""

    async def of_ref(self, ref_id: UUID, workspace: str | None) -> MediaDescriptor | PurgedMedia | None:
        """Describe a ref by its id, None where it never existed or its tombstone has expired."""

    async def admission(self, sha256: Sha256, workspace: str | None, roles: Sequence[RoleRule]) -> Admission:
        """Whether refs to a blob fill roles that admit something.

        Of `roles` the first that fits a ref counts; a ref that none fits admits nothing.
        """
