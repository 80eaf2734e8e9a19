"""The plans of the statements that the product sends: written down as they go by, then explained."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from service.adapters.postgres.database import Database

GROWING = {"refs", "events", "holdings", "objects", "blobs", "entities", "idempotency"}
"""Tables with a row for each thing that is kept; others are too short in the tests for an index to be worth it."""

OF_WHAT_PASSES = {"objects_pending_lease", "objects_condemned_due"}
"""Indexes of what is only on its way in or out: reading one whole is no matter of growth."""

_PARAMETER = re.compile(r"\$([0-9]+)")
_PLANNED = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Scan:
    """How a statement reads a table: by which index, if any, and what of it."""

    kind: str
    table: str
    index: str | None
    condition: str


@asynccontextmanager
async def statements_of(database: Database) -> AsyncIterator[list[str]]:
    """The statements that go by in the block, each once. The database has one connection."""
    seen: dict[str, None] = {}

    def note(query: asyncpg.connection.LoggedQuery) -> None:
        if _PLANNED.match(query.query):
            seen[query.query] = None

    said: list[str] = []
    async with database.connection() as connection:
        connection.add_query_logger(note)
    try:
        yield said
    finally:
        async with database.connection() as connection:
            connection.remove_query_logger(note)
        said.extend(seen)


async def scans_of(database: Database, statement: str) -> list[Scan]:
    """How the statement reads its tables when it is planned for any parameters, as one that comes often is."""
    parameters = max((int(number) for number in _PARAMETER.findall(statement)), default=0)
    values = f"({', '.join(['NULL'] * parameters)})" if parameters else ""
    async with database.connection() as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        try:
            await connection.execute(f"PREPARE explained AS {statement}")
            [[text]] = await connection.fetch(f"EXPLAIN (FORMAT JSON) EXECUTE explained{values}")
        finally:
            await connection.execute("RESET plan_cache_mode; DEALLOCATE ALL")
            await connection.reload_schema_state()
    return [*_scans(json.loads(text)[0]["Plan"])]


def _scans(plan: dict[str, Any]) -> Iterator[Scan]:
    if "Relation Name" in plan and "Scan" in plan["Node Type"]:
        condition = plan.get("Index Cond") or plan.get("Recheck Cond") or plan.get("TID Cond") or ""
        yield Scan(plan["Node Type"], plan["Relation Name"], plan.get("Index Name"), condition)
    for child in plan.get("Plans", []):
        yield from _scans(child)
