"""The old way, kept for a roll-back: covers in a table of our own, whole in memory, without previews or progress."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

import asyncpg

from tests.consumers.shared.covers import Covers
from tests.consumers.shared.database import Connection, Pool
from tests.consumers.shared.picture import Picture
from tests.consumers.shared.refusals import Refusal, not_found, too_large

MAX_BYTES = 5_000_000
_SIGNATURES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
_KEEP = "INSERT INTO own_covers (id, library_id, media_type, content) VALUES ($1, $2, $3, $4)"
_SHOW = "UPDATE libraries SET own_cover_id = $2 WHERE id = $1"
_DROP = "DELETE FROM own_covers WHERE library_id = $1 AND id IS DISTINCT FROM $2"


@dataclass(frozen=True)
class OwnCovers:
    """At most one of both ways is what a library shows: the one that was used last."""

    pool: Pool
    covers: Covers

    async def put(self, library_id: str, picture: Picture) -> UUID:
        """Show this from now on; the ref in its place is let go of in the same transaction. Raises `Refusal`."""
        await self.covers.row(library_id)
        content = await _whole(picture)
        media_type, own_id = _media_type_of(content), uuid4()
        async with self.pool.acquire() as connection, connection.transaction():
            await self.covers.withdraw(connection, library_id)
            await connection.execute(_KEEP, own_id, library_id, media_type, content)
            await _show(connection, library_id, own_id)
        return own_id

    async def remove(self, library_id: str) -> None:
        """Show none that we keep; again is nothing."""
        async with self.pool.acquire() as connection, connection.transaction():
            await _show(connection, library_id, None)

    async def content(self, own_id: UUID) -> asyncpg.Record:
        """`media_type` and `content`, by an id that is never used for other bytes. Raises `Refusal`."""
        row = await self.pool.fetchrow("SELECT media_type, content FROM own_covers WHERE id = $1", own_id)
        if row is None:
            raise not_found("cover")
        return row


async def _show(connection: Connection, library_id: str, own_id: UUID | None) -> None:
    await connection.execute(_SHOW, library_id, own_id)
    await connection.execute(_DROP, library_id, own_id)


async def _whole(picture: Picture) -> bytes:
    content = bytearray()
    async for piece in picture.pieces():
        content += piece
        if len(content) > MAX_BYTES:
            raise too_large(MAX_BYTES)
    return bytes(content)


def _media_type_of(content: bytes) -> str:
    for signature, media_type in _SIGNATURES.items():
        if content.startswith(signature):
            return media_type
    raise Refusal(415, "media-type-not-allowed", "The file is neither a JPEG nor a PNG.")
