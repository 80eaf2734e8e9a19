"""What every test shares."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.parts.postgres import PostgresServer, running_postgres
from tests.parts.seaweed import Seaweed, running_seaweed

# The same examples at every run: a red build is red for everyone, and again.
settings.register_profile("refkeep", derandomize=True, deadline=None)
settings.load_profile("refkeep")


# Tests from the outside: of the service's code they run little in their own process, and to watch them costs a third.
FROM_OUTSIDE = ("machine", "e2e", "consumers", "http", "client")
# Others know one technology or a page of ours, and neither domain nor application.
BESIDE = (
    "test_doctor",
    "test_embedded_",
    "test_evolution",
    "test_filesystem_",
    "test_growth_",
    "test_notes",
    "test_prober",
    "test_renderer",
    "test_router_",
    "test_s3_",
    "test_storage",
    "test_telemetry_",
    "test_vips_",
)


def pytest_xdist_auto_num_workers() -> int:
    """Two per core: half of the time a test waits, for a disk, a process or a clock."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Coverage of domain and application is the affair of unit, contract and adapters alone, but for some of them."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in FROM_OUTSIDE or item.path.name.startswith(BESIDE):
            item.add_marker("no_cover")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """One real S3-compatible server for all tests that ask for it."""
    with running_seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One real Postgres for all tests that ask for it."""
    with running_postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def migrated(postgres: PostgresServer) -> Iterator[str]:
    """The name of a database with the schema and nothing else."""
    with postgres.migrated_template() as name:
        yield name


@pytest.fixture(scope="module")
def database_url(postgres: PostgresServer, migrated: str) -> Iterator[str]:
    """A database of the test module's own."""
    with postgres.database(migrated) as dsn:
        yield dsn
