"""Moves between stores, on Postgres."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import asyncpg

from service.adapters.postgres.database import Connection, Database, Row
from service.adapters.postgres.errors import LockTimeout, translated
from service.adapters.postgres.locks import lock_of
from service.domain.errors import MoveRefused
from service.observability import observed
from service.ports.moves import Move, Stores

_TRIES = 5
_ALONE, _BEGINNING = lock_of("migrate-store"), lock_of("begin a move")
_SESSION = {"application_name": "refkeep migrate-store"}

_STORES = """SELECT s.store_epoch, s.id::text AS sentinel, s.placed_at IS NOT NULL AS placed,
    m.id AS move, m.source, m.target, m.seal::text, m.closed_at IS NOT NULL AS closed, m.doubt_from, m.doubt_to
FROM sentinel s LEFT JOIN store_moves m ON m.finished_at IS NULL"""
_EPOCH = "UPDATE sentinel SET store_epoch = store_epoch + 1"
_BEGIN = "INSERT INTO store_moves (source, target) VALUES ($1, $2)"
# The seal stays: the store that is opened again shows it until this run, or the next one, has written its sentinel.
# What is in doubt stays with the store that has it, as a move that is over, until a run copies into that store again.
_TURN_BACK = """
WITH left_behind AS (
    INSERT INTO store_moves (source, target, doubt_from, doubt_to, closed_at, finished_at)
    SELECT source, target, doubt_from, doubt_to, refkeep_now(), refkeep_now() FROM store_moves
    WHERE finished_at IS NULL AND doubt_from IS NOT NULL),
taken_up AS (
    DELETE FROM store_moves WHERE finished_at IS NOT NULL AND target = $2 AND doubt_from IS NOT NULL
    RETURNING doubt_from, doubt_to)
UPDATE store_moves SET source = $1, target = $2, closed_at = NULL,
    (doubt_from, doubt_to) = (SELECT min(doubt_from), max(doubt_to) FROM taken_up) WHERE finished_at IS NULL"""
_NOTE = "UPDATE store_moves SET doubt_from = $1, doubt_to = $2 WHERE finished_at IS NULL"
# Whoever publishes has locked a row of the table since before it read the epoch: it is waited for, and who comes later
# reads the new one.
_LOCK_OUT = "LOCK TABLE objects IN EXCLUSIVE MODE"
_CLOSE = "UPDATE store_moves SET closed_at = coalesce(closed_at, refkeep_now()) WHERE finished_at IS NULL"
_FINISH = "UPDATE store_moves SET finished_at = refkeep_now() WHERE finished_at IS NULL AND closed_at IS NOT NULL"
_LED_TO = """SELECT target FROM store_moves WHERE finished_at IS NOT NULL AND doubt_from IS NULL
    AND EXISTS (SELECT FROM store_moves WHERE seal::text = $1 AND finished_at IS NOT NULL)
ORDER BY finished_at DESC LIMIT 1"""
_WORKERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1"


@dataclass(frozen=True, slots=True)
class PostgresMoves:
    """`MoveLedger` on Postgres."""

    database: Database

    async def stores(self) -> Stores:
        """See the port."""
        async with self.database.connection() as connection:
            return await _stores(connection)

    @observed("moves.begin", layer="repo", span_name="WRITE store_moves")
    async def begin(self, source: str, target: str) -> Move:
        """See the port."""
        async with self.database.locked([_BEGINNING]) as connection:
            under_way = (await _stores(connection)).move
            if under_way is None:
                await connection.execute(_BEGIN, source, target)
            elif (under_way.source, under_way.target) == (source, target):
                return under_way
            elif (under_way.target, under_way.source) == (source, target):
                await connection.execute(_TURN_BACK, source, target)
            else:
                raise MoveRefused(
                    f"A move from {under_way.source} to {under_way.target} is under way: finish it, or turn it back."
                )
            await connection.execute(_EPOCH)
            return _begun((await _stores(connection)).move)

    async def note_copies(self, keys: tuple[str, str] | None) -> None:
        """See the port."""
        await self.database.fetch(_NOTE, *(keys or (None, None)))

    @observed("moves.close", layer="repo", span_name="WRITE store_moves")
    async def close(self) -> None:
        """See the port. Who publishes waits meanwhile, readers do not; a table that is busy is asked for again."""
        for _ in range(_TRIES - 1):
            with suppress(LockTimeout):
                return await self._close()
        return await self._close()

    async def _close(self) -> None:
        async with self.database.locked(()) as connection:
            await connection.execute(f"SET LOCAL lock_timeout = '1s'; {_LOCK_OUT}")
            await connection.execute(f"{_CLOSE}; {_EPOCH}")

    @observed("moves.finish", layer="repo", span_name="UPDATE store_moves")
    async def finish(self) -> None:
        """See the port."""
        await self.database.fetch(_FINISH)

    async def led_to(self, seal: str) -> str | None:
        """Where the store is now, if a store with this seal was left by a move that is over; for the doctor."""
        row = await self.database.fetchrow(_LED_TO, seal)
        return None if row is None else str(row["target"])

    async def workers_at(self, location: str) -> int:
        """See the port: each worker has one pulse."""
        row = await self.database.fetchrow(_WORKERS, pulse_name(location))
        return 0 if row is None else int(row["count"])


def pulse_name(location: str) -> str:
    """What the pulse of a worker with this store is called among the sessions of the database."""
    return f"refkeep pulse {hashlib.sha256(location.encode()).hexdigest()[:12]}"


@asynccontextmanager
async def moving_alone(connect: Mapping[str, Any]) -> AsyncIterator[None]:
    """Nobody else copies or adopts objects for as long as the block runs; raises `MoveRefused` where somebody does.

    `connect` are asyncpg's own keyword arguments. Whoever is killed lets go with its connection.
    """
    async with translated():
        connection = await asyncpg.connect(**connect, timeout=10, server_settings=_SESSION)
    try:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _ALONE):
            raise MoveRefused("Another `refkeep migrate-store` or `refkeep fsck --adopt` is at work on this database.")
        yield
    finally:
        await connection.close(timeout=5)


async def _stores(connection: Connection) -> Stores:
    row = await connection.fetchrow(_STORES)
    if row is None:
        raise RuntimeError("the schema is made with its sentinel")
    move = None if row["move"] is None else _to_move(row)
    return Stores(row["store_epoch"], row["sentinel"], move, row["placed"])


def _begun(move: Move | None) -> Move:
    if move is None:
        raise RuntimeError("a move was begun and is not there")
    return move


def _to_move(row: Row) -> Move:
    doubtful = None if row["doubt_from"] is None else (row["doubt_from"], row["doubt_to"])
    return Move(row["source"], row["target"], row["seal"], row["closed"], doubtful)
