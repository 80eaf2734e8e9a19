"""What entities show: slots that are filled, put in order, released."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Unpack
from uuid import UUID

from refkeep_client.content import Content
from refkeep_client.keys import EntityKey, RoleKey, SlotKey
from refkeep_client.operations import Operation
from refkeep_client.options import AttachOptions, CallOptions, ChangeOptions, PutOptions, WriteOptions
from refkeep_client.results import Attached, Changed, EntityRefs
from refkeep_client.sending import Sender


class Refs:
    """`refkeep.refs`. Where content is asked for, text is the SHA-256 of bytes sent before, anything else the bytes."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def get(self, of: EntityKey | RoleKey, **options: Unpack[CallOptions]) -> EntityRefs:
        """All live refs of an entity or a role, in order, of one version; none is an empty list."""
        raise NotImplementedError

    async def put(self, slot: SlotKey, content: str | Content, **options: Unpack[PutOptions]) -> Attached:
        """Fill a slot: `insert`, `replace` (the former ref is in the trash) or `noop`.

        To replace in a list needs `if_match`. Raises `PreconditionRequired`, `VersionConflict`, `Rejected`
        (`BlobNotHeld`, `TooLarge` …), `QuotaExceeded`; for bytes what `Blobs.send` raises, too.
        """
        raise NotImplementedError

    async def append(self, role: RoleKey, content: str | Content, **options: Unpack[AttachOptions]) -> Attached:
        """Put a ref behind the last one of a list. Raises `Conflict` when it is full, and what `put` raises."""
        raise NotImplementedError

    async def insert(self, slot: SlotKey, content: str | Content, **options: Unpack[AttachOptions]) -> Attached:
        """Put a ref before the one at that position of a list; needs `if_match`. Raises what `append` raises."""
        raise NotImplementedError

    async def order(self, role: RoleKey, ref_ids: Iterable[UUID | str], **options: Unpack[ChangeOptions]) -> Changed:
        """Put the live refs of a list in this order, each once; needs `if_match`.

        Raises `Rejected` (`not-a-permutation`), `VersionConflict`, `PreconditionRequired`.
        """
        raise NotImplementedError

    async def release(self, what: SlotKey | RoleKey | EntityKey, **options: Unpack[ChangeOptions]) -> Changed:
        """Send a slot's ref, a role's or all of an entity to the trash; again is a `noop`.

        A position of a list needs `if_match`; by id, see `Media.delete`. Raises `VersionConflict`,
        `PreconditionRequired`.
        """
        raise NotImplementedError

    async def batch(self, operations: Sequence[Operation], **options: Unpack[WriteOptions]) -> tuple[Changed, ...]:
        """Up to 100 operations in their order, all of them or none.

        Raises the first problem; its `members["index"]` says whose it is.
        """
        raise NotImplementedError
