"""One service for all tests of the client, a relay before it that does what networks do, and clients of both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from refkeep_client import Refkeep, Retry
from tests.parts.postgres import PostgresServer
from tests.parts.relay import Relay, running_relay
from tests.parts.service import Refkeep as Service
from tests.parts.service import Yard

SIGNING_KEY = "2026:c2lnbmVkIGJ5IHRoZSB0ZXN0cw=="
QUICK = Retry(first_s=0.01, most_s=0.05)


@pytest.fixture(scope="session")
def yard(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Yard:
    """Where services are started."""
    return Yard(tmp_path_factory.mktemp("client"), postgres)


@pytest.fixture(scope="session")
def service(yard: Yard) -> Iterator[Service]:
    """The service with its defaults and a key to sign with, on a folder."""
    with yard.running(SIGNING_KEYS=SIGNING_KEY) as started:
        yield started


@pytest.fixture
def workspace(service: Service) -> str:
    """A new workspace."""
    return service.workspace()


@pytest.fixture
def key(service: Service, workspace: str) -> str:
    """A key that may do everything in it."""
    return service.key(workspace, "read", "write", "admin")


@pytest.fixture
async def refkeep(service: Service, key: str) -> AsyncIterator[Refkeep]:
    """A client of that workspace."""
    async with Refkeep(service.url, key=key) as client:
        yield client


@pytest.fixture
async def relay(service: Service) -> AsyncIterator[Relay]:
    """What stands between a client and the service; its `decide` says what becomes of each request."""
    async with running_relay(("127.0.0.1", service.port)) as running:
        yield running


@pytest.fixture
async def far(relay: Relay, key: str) -> AsyncIterator[Refkeep]:
    """The same client behind the relay; it loses no time between attempts."""
    async with Refkeep(relay.url, key=key, retry=QUICK) as client:
        yield client
