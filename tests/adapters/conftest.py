"""What the tests of the Postgres adapter share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from service.adapters.postgres.database import Database
from tests.parts.ledgers import Ledger, opened_database, postgres_ledger
from tests.parts.postgres import PostgresServer


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool on the module's database."""
    async with opened_database(database_url) as database:
        yield database


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """The ledgers over that pool."""
    return postgres_ledger(database)


@pytest.fixture
def fresh_url(postgres: PostgresServer, migrated: str) -> Iterator[str]:
    """A database of the test's own."""
    with postgres.database(migrated) as dsn:
        yield dsn


@pytest.fixture
def empty_url(postgres: PostgresServer) -> Iterator[str]:
    """A database of the test's own, without the schema."""
    with postgres.database() as dsn:
        yield dsn
