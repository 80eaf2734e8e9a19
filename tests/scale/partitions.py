"""What delivery's question whether anybody shows a blob publicly costs with `refs` in one table, and in partitions."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
from dataclasses import dataclass

import asyncpg

from service.adapters.postgres.migration import migrate
from tests.growth.world import World, fill
from tests.parts.postgres import PostgresServer, session

_PARTS = 16
_ROUNDS, _PROBES = 40, 250
_TABLES = ("refs", "refs_in_parts")
_PART = "CREATE TABLE part_{n} PARTITION OF refs_in_parts FOR VALUES WITH (MODULUS {parts}, REMAINDER {n})"
_SPLIT = [
    "CREATE TABLE refs_in_parts (LIKE refs) PARTITION BY HASH (workspace_id)",
    *(_PART.format(n=number, parts=_PARTS) for number in range(_PARTS)),
    "INSERT INTO refs_in_parts SELECT * FROM refs",
]
_INDEXES = "SELECT indexdef FROM pg_indexes WHERE tablename = 'refs' AND indexdef LIKE '%(blob_id%'"
_PROBE = """SELECT count(found) FROM unnest($1::bigint[]) AS asked (blob_id), LATERAL (
    SELECT coalesce((SELECT true FROM {table} r WHERE r.blob_id = asked.blob_id AND r.visibility = 'public'
        AND r.state = 'live' LIMIT 1), false) AS found) AS probe"""


@dataclass(frozen=True)
class Probed:
    """Microseconds of one question, the median of all rounds."""

    whole_us: float
    parts_us: float


def probe(postgres: PostgresServer, refs: int) -> Probed:
    """Every second blob has public refs; of the others every partition says no."""
    with postgres.database() as dsn:
        return asyncio.run(_probe(dsn, refs))


async def _probe(dsn: str, refs: int) -> Probed:
    await migrate({"dsn": dsn})
    async with session(dsn) as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan; SET jit = off")
        await fill(connection, World(refs))
        await connection.execute("UPDATE refs SET visibility = 'public' WHERE blob_id % 2 = 0")
        for statement in _SPLIT:
            await connection.execute(statement)
        for row in await connection.fetch(_INDEXES):
            form = str(row["indexdef"]).partition(" USING ")[2]
            await connection.execute(f"CREATE INDEX ON refs_in_parts USING {form}")
        await connection.execute("VACUUM ANALYZE")
        rounds = [[await _round(connection, table, refs) for table in _TABLES] for _ in range(_ROUNDS)]
    whole, parts = (statistics.median(each) for each in zip(*rounds, strict=True))
    return Probed(whole, parts)


async def _round(connection: asyncpg.Connection[asyncpg.Record], table: str, refs: int) -> float:
    asked = [random.randrange(1, refs // 2) for _ in range(_PROBES)]
    plan = await connection.fetchval(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {_PROBE.format(table=table)}", asked)
    return float(json.loads(plan)[0]["Execution Time"]) * 1000 / _PROBES
