"""Advisory locks: what a transaction is about, as a number."""

from __future__ import annotations

from hashlib import blake2b

from service.domain.blob import Sha256
from service.domain.slot import EntityKey


def lock_of(kind: str, *names: str) -> int:
    """The 64-bit advisory lock of a thing; things of different kinds or names practically never share one."""
    digest = blake2b("\0".join((kind, *names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def entity_lock(entity: EntityKey) -> int:
    """Of an entity, its refs and its version."""
    return lock_of("entity", entity.workspace, entity.type, entity.id)


def blob_lock(sha256: Sha256) -> int:
    """Of a blob, its holdings and its objects."""
    return lock_of("blob", sha256)
