"""What the tests of the Postgres adapter share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.postgres.database import Database
from tests.parts.buckets import emptied_bucket, opened
from tests.parts.collecting import Store, opened_yard
from tests.parts.ledgers import Ledger, opened_database, postgres_ledger
from tests.parts.postgres import PostgresServer
from tests.parts.repairing import Workshop


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool on the module's database."""
    async with opened_database(database_url) as database:
        yield database


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """The ledgers over that pool."""
    return postgres_ledger(database)


@pytest.fixture(params=["filesystem", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Both stores in turn, empty."""
    if request.param == "filesystem":
        made = FilesystemStorage(tmp_path)
        await made.aopen()
        yield made
    else:
        async with opened(await emptied_bucket(request.getfixturevalue("seaweed")), tmp_path) as bucket:
            yield bucket


@pytest.fixture
async def shop(database_url: str, store: Store, tmp_path: Path) -> AsyncIterator[Workshop]:
    """What repairs, over a database and each store."""
    async with (
        opened_database(database_url, 8) as database,
        opened_yard(database, store, postgres_ledger(database)) as yard,
    ):
        yield Workshop(yard, tmp_path)


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
