"""What every test shares."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.parts.seaweed import Seaweed, running_seaweed

# The same examples at every run: a red build is red for everyone, and again.
settings.register_profile("refkeep", derandomize=True, deadline=None)
settings.load_profile("refkeep")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """One real S3-compatible server for all tests that ask for it."""
    with running_seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server
