"""Ten thousand steps with THOROUGH=1, else three thousand, the same at every run. `make soak` tells other stories."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.machine.ground import Ground, opened_ground
from tests.machine.telling import bucket, folder, tell_stories
from tests.parts.postgres import PostgresServer
from tests.parts.seaweed import Seaweed
from tests.parts.thorough import times


@pytest.fixture(scope="module")
def on_a_folder(postgres: PostgresServer, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """In memory where there is such a folder: what a disk keeps is the affair of the crash tests."""
    with ExitStack() as stack:
        memory = Path("/dev/shm")
        path = tmp_path_factory.mktemp("stories")
        if os.access(memory, os.W_OK):
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="refkeep-stories-", dir=memory)))
        dsn = stack.enter_context(postgres.database(migrated))
        yield stack.enter_context(opened_ground(dsn, lambda: folder(path)))


@pytest.fixture(scope="module")
def on_a_bucket(
    postgres: PostgresServer, migrated: str, seaweed: Seaweed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    path = tmp_path_factory.mktemp("stories")
    with postgres.database(migrated) as dsn, opened_ground(dsn, lambda: bucket(seaweed, path)) as ground:
        yield ground


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(times(4, 1)))
def test_nothing_is_lost_and_nothing_kept_on_a_folder(on_a_folder: Ground, seed: int) -> None:
    tell_stories(on_a_folder, seed, 20)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(100, 100 + times(2, 1)))
def test_nothing_is_lost_and_nothing_kept_in_a_bucket(on_a_bucket: Ground, seed: int) -> None:
    tell_stories(on_a_bucket, seed, 12)
