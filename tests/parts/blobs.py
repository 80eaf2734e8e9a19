"""Bytes to store, the keys they go under, and the short words for doing so."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import uuid_utils

from service.ports.storage import ByteStream, Storage

MIB = 1024 * 1024


def key_for(sha256: str) -> str:
    """A storage key that nobody has used."""
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}.{uuid_utils.uuid7()}"


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def large(mebibytes: int) -> Iterator[bytes]:
    """Pieces of 1 MiB, all different, without ever holding more than one."""
    piece = bytearray(noise(MIB))
    for number in range(mebibytes):
        piece[:8] = number.to_bytes(8, "big")
        yield bytes(piece)


async def put(storage: Storage, content: bytes) -> str:
    """Store `content` and return its key."""
    key = key_for(hashlib.sha256(content).hexdigest())
    staged = await storage.stage()
    await staged.write(content)
    await staged.commit(key)
    return key


async def put_large(storage: Storage, mebibytes: int) -> str:
    """Store `large(mebibytes)` and return its key."""
    digest, staged = hashlib.sha256(), await storage.stage()
    for piece in large(mebibytes):
        digest.update(piece)
        await staged.write(piece)
    await staged.flush()
    key = key_for(digest.hexdigest())
    await staged.commit(key)
    return key


async def read(stream: ByteStream) -> bytes:
    """All bytes of the stream, which is closed."""
    try:
        return b"".join([chunk async for chunk in stream])
    finally:
        await stream.aclose()


async def get(storage: Storage, key: str, offset: int = 0, length: int | None = None) -> bytes:
    """The bytes of a range."""
    return await read(await storage.open(key, offset, length))


async def keys(storage: Storage, after: str = "") -> list[str]:
    """The keys of a listing."""
    return [stored.key async for stored in storage.list(after)]


def files_under(folder: Path) -> set[str]:
    """Every file below `folder`, by its path from there."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
