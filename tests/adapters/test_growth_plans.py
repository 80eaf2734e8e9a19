"""No statement that is sent often reads a whole table, however much is in it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from service.adapters.postgres.database import Database
from tests.growth.operations import Operations
from tests.growth.plans import GROWING, scans_of, statements_of
from tests.growth.world import World, fill
from tests.parts.audit import ledger_flaws
from tests.parts.ledgers import opened_database
from tests.parts.postgres import session

pytestmark = pytest.mark.anyio

REFS = 8_000
NAMES = [*Operations(Database.__new__(Database), World(REFS), random.Random(0)).all()]


@pytest.fixture(scope="module")
async def operations(database_url: str) -> AsyncIterator[Operations]:
    """A moderately filled database with one connection."""
    async with session(database_url) as connection:
        await fill(connection, World(REFS))
    async with opened_database(database_url, 1) as database:
        made = Operations(database, World(REFS), random.Random(1))
        await made.prepare()
        yield made


async def test_the_made_up_world_is_as_the_service_would_have_left_it(operations: Operations) -> None:
    assert await ledger_flaws(operations.database) == []


@pytest.mark.parametrize("name", NAMES)
async def test_a_frequent_statement_reads_by_index(operations: Operations, name: str) -> None:
    async with statements_of(operations.database) as statements:
        await operations.make_due()
        await operations.all()[name]()
    assert statements
    for statement in statements:
        scans = await scans_of(operations.database, statement)
        whole = [scan for scan in scans if scan.table in GROWING and not scan.condition]
        assert whole == [], statement
