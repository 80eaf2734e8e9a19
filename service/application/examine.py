"""Reading an object to see whether it is what its name says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256

from service.domain.errors import ObjectMissing
from service.domain.health import Health
from service.ports.integrity import KnownObject
from service.ports.storage import ByteStream, Storage

Pace = Callable[[int], Awaitable[None]]
"""Called with the bytes of each piece that was read; returns when the next one may be."""


async def at_once(_: int) -> None:
    """As fast as the store."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen; `steady` is False where the second read was right and the first was not."""

    health: Health
    steady: bool = True


async def is_there(storage: Storage, key: str) -> bool:
    """Whether the store has an object under this key. Raises `StorageUnavailable`."""
    try:
        stream = await storage.open(key)
    except ObjectMissing:
        return False
    await stream.aclose()
    return True


async def glance(storage: Storage, known: KnownObject) -> Health:
    """Whether the store has an object of the right size under this key. Raises `StorageUnavailable`."""
    try:
        stream = await storage.open(known.key)
    except ObjectMissing:
        return Health.MISSING
    size = stream.size
    await stream.aclose()
    return Health.OK if size == known.size else Health.CORRUPT


async def examine(storage: Storage, known: KnownObject, pace: Pace = at_once) -> Look:
    """Read all of it, twice before it is called corrupt. Raises `StorageUnavailable`: that is never an absence."""
    first = await _read(storage, known, pace)
    if first is not Health.CORRUPT:
        return Look(first)
    second = await _read(storage, known, pace)
    return Look(second, steady=second is not Health.OK)


async def _read(storage: Storage, known: KnownObject, pace: Pace) -> Health:
    try:
        stream = await storage.open(known.key)
    except ObjectMissing:
        return Health.MISSING
    try:
        if stream.size != known.size:
            return Health.CORRUPT
        return Health.OK if await _digest(stream, pace) == known.sha256 else Health.CORRUPT
    finally:
        await stream.aclose()


async def _digest(stream: ByteStream, pace: Pace) -> str:
    digest = sha256()
    async for chunk in stream:
        await asyncio.to_thread(digest.update, chunk)
        await pace(len(chunk))
    return digest.hexdigest()
