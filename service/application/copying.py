"""One object from the store of old to the new one: hashed on its way out, read back once it is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from service.application.examine import Pace, examine
from service.application.staging import Staged, stage
from service.domain.errors import StorageUnavailable, TooLarge
from service.domain.health import Health
from service.ports.integrity import KnownObject
from service.ports.storage import ByteStream, Storage

_TRIES = 2


async def copy(source: Storage, target: Storage, known: KnownObject, pace: Pace) -> bool:
    """Bring the object to the target under the same key; nobody has read it there yet.

    False where the source has other bytes, seen three times: then nothing was copied. A copy that is there already
    counts as this one. Raises `ObjectMissing` of the source; `StorageUnavailable`, `StorageFull`.
    """
    for _ in range(_TRIES):
        if (staged := await _read(source, target, known, pace)) is not None:
            await staged.object.commit(known.key)
            return True
        if (await examine(source, known, pace)).health is not Health.OK:
            return False
    raise StorageUnavailable("The store reads an object right and wrong in turn.")


async def _read(source: Storage, target: Storage, known: KnownObject, pace: Pace) -> Staged | None:
    """The bytes, staged; None where they do not hash to their name."""
    stream = await source.open(known.key)
    try:
        staged = await stage(target, _paced(stream, pace), known.size)
    except TooLarge:
        return None
    finally:
        await stream.aclose()
    if staged.sha256 == known.sha256:
        return staged
    await asyncio.shield(staged.object.cancel())
    return None


async def _paced(stream: ByteStream, pace: Pace) -> AsyncIterator[bytes]:
    async for chunk in stream:
        await pace(len(chunk))
        yield chunk
