"""Both caches in front of both stores: every test here meets all four pairs."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.parts.edges import RUNNING, Edge
from tests.parts.origin import Origin, running_origin
from tests.parts.postgres import PostgresServer


@pytest.fixture(scope="session", params=["filesystem", "s3"])
def origin(
    request: pytest.FixtureRequest, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Origin]:
    """Two replicas on a folder that they share, then two on a bucket."""
    with running_origin(request.param, postgres, tmp_path_factory.mktemp(request.param)) as started:
        yield started


@pytest.fixture(scope="session", params=["nginx", "varnish"])
def edge(request: pytest.FixtureRequest, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A cache as configured in deploy/."""
    with RUNNING[request.param](tmp_path_factory.mktemp(request.param), origin.ports) as started:
        yield started


@pytest.fixture
def visitor(edge: Edge) -> Iterator[httpx.Client]:
    """Somebody without a key, who asks the cache."""
    with httpx.Client(base_url=edge.url, timeout=60) as client:
        yield client
