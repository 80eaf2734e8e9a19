"""A blob as a local file, for those who work on pictures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from service.application.staging import stage
from service.domain.errors import BytesCorrupt, StorageUnavailable
from service.ports.descriptors import ServableBytes
from service.ports.storage import Storage


@asynccontextmanager
async def at_hand(storage: Storage, content: ServableBytes) -> AsyncIterator[Path]:
    """The store's own file, or a copy that ends with the block.

    Raises `ObjectMissing`, `BytesCorrupt` where other bytes came than were sent, `StorageUnavailable`.
    """
    content.check_health()
    stream = await storage.open(content.storage_key)
    try:
        if stream.size != content.size:
            raise StorageUnavailable("The store holds another number of bytes than was written.")
        if stream.path is not None:
            yield stream.path
            return
        copy = await stage(storage, aiter(stream), content.size)
    finally:
        await stream.aclose()
    try:
        if copy.sha256 != content.sha256:
            raise BytesCorrupt
        yield copy.object.path
    finally:
        await asyncio.shield(copy.object.cancel())
