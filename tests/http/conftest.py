"""Services that the tests of this folder share, and callers of them: each test has workspaces of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.caller import Caller
from tests.parts.postgres import PostgresServer
from tests.parts.service import Refkeep, Yard


@pytest.fixture(scope="session")
def yard(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Yard:
    """Where services are started."""
    return Yard(tmp_path_factory.mktemp("yard"), postgres)


@pytest.fixture(scope="session")
def service(yard: Yard) -> Iterator[Refkeep]:
    """The service with its defaults, on a folder."""
    with yard.running() as started:
        yield started


@pytest.fixture
def acme(service: Refkeep) -> Caller:
    """A caller who may read and write in a new workspace."""
    return service.caller("read", "write")


@pytest.fixture
def globex(service: Refkeep) -> Caller:
    """The same of another new workspace."""
    return service.caller("read", "write")


@pytest.fixture
def reader(service: Refkeep, acme: Caller) -> Caller:
    """A caller who may only read, in acme's workspace."""
    return service.caller("read", workspace=acme.workspace)


@pytest.fixture
def anyone(service: Refkeep) -> Caller:
    """A caller without a key."""
    return service.bearer(None)
