"""Counting and hashing what streams in, before any adapter sees a name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from service.domain.blob import Sha256
from service.domain.errors import TooLarge
from service.observability import timed
from service.ports.storage import StagedObject, Storage

_BLOCK = 1024 * 1024
_INLINE_HASH = 64 * 1024


class Hash(Protocol):
    """A running digest of hashlib."""

    def update(self, data: bytes, /) -> None:
        """Take more bytes."""


@dataclass(frozen=True, slots=True)
class Staged:
    """Bytes that wait for a name: complete in `object.path`, not yet durable."""

    object: StagedObject
    sha256: Sha256
    size: int


async def stage(storage: Storage, chunks: AsyncIterator[bytes], max_bytes: int) -> Staged:
    """Write the stream to a staged object. Raises `TooLarge` one chunk past `max_bytes`.

    On any error nothing is left.
    """
    staged = await storage.stage()
    digest, size = sha256(), 0
    try:
        async for block in _blocks(chunks, max_bytes):
            size += len(block)
            with timed("hash"):
                await _update(digest, block)
            await staged.write(block)
        await staged.flush()
    except BaseException:
        await asyncio.shield(staged.cancel())
        raise
    return Staged(staged, Sha256(digest.hexdigest()), size)


async def _update(digest: Hash, block: bytes) -> None:
    """A large block is hashed off the event loop."""
    if len(block) <= _INLINE_HASH:
        digest.update(block)
    else:
        await asyncio.to_thread(digest.update, block)


async def _blocks(chunks: AsyncIterator[bytes], max_bytes: int) -> AsyncIterator[bytes]:
    """The same bytes in pieces of about a MiB, so that a thread has enough to do."""
    gathered, total = bytearray(), 0
    async for chunk in chunks:
        total += len(chunk)
        if total > max_bytes:
            raise TooLarge(None, max_bytes)
        gathered += chunk
        if len(gathered) >= _BLOCK:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
