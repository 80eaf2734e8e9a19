"""What a row of each table and its entries in each index take on disk, measured where there are many of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from service.adapters.postgres.migration import migrate
from tests.growth.world import World, fill
from tests.parts.postgres import PostgresServer, session

_SIZES = """
SELECT c.relname AS relation, coalesce(t.relname, c.relname) AS of, c.relkind = 'i' AS is_index,
    pg_relation_size(c.oid) + coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0) AS bytes
FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class t ON t.oid = i.indrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i') ORDER BY 2, 3, 1"""


@dataclass(frozen=True)
class Size:
    """`rows` of the table `of`, and the bytes that they take in `relation`: that table, or one of its indexes."""

    relation: str
    of: str
    is_index: bool
    rows: int
    bytes: int

    @property
    def bytes_per_row(self) -> float:
        return self.bytes / self.rows


def measure(postgres: PostgresServer, refs: int) -> list[Size]:
    """Every table of at least one row to a hundred refs, then its indexes."""
    with postgres.database() as dsn:
        return asyncio.run(_measure(dsn, refs))


async def _measure(dsn: str, refs: int) -> list[Size]:
    await migrate({"dsn": dsn})
    async with session(dsn) as connection:
        await fill(connection, World(refs))
        rows = await connection.fetch(_SIZES)
        tables = sorted({row["of"] for row in rows})
        counts = {name: await connection.fetchval(f'SELECT count(*) FROM "{name}"') for name in tables}
    sizes = [Size(row["relation"], row["of"], row["is_index"], counts[row["of"]], row["bytes"]) for row in rows]
    return [size for size in sizes if size.rows >= refs / 100]
