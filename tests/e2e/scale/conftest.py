"""Four replicas, nginx, one Postgres, SeaweedFS with three volume servers: once for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.postgres import PostgresServer
from tests.scale.ground import Ground, laid_ground


@pytest.fixture(scope="session")
def ground(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with laid_ground(tmp_path_factory.mktemp("scale"), postgres, replicas=4) as laid:
        yield laid
