"""Ten thousand steps, the same at every run: the seeds are numbers. `make soak` tells other stories for longer."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from service.adapters.filesystem.storage import FilesystemStorage
from tests.machine.ground import Ground, opened_ground
from tests.machine.story import Story
from tests.parts.buckets import emptied_bucket, opened
from tests.parts.postgres import PostgresServer
from tests.parts.seaweed import Seaweed

STEPS = 100


@asynccontextmanager
async def folder(path: Path) -> AsyncIterator[Any]:
    store = FilesystemStorage(path)
    await store.aopen()
    yield store


@asynccontextmanager
async def bucket(server: Seaweed, path: Path) -> AsyncIterator[Any]:
    async with opened(await emptied_bucket(server), path) as store:
        yield store


def tell_stories(ground: Ground, number: int, stories: int, steps: int = STEPS) -> None:
    """Some stories of this number. With SHRINK=1 in the environment a failing one is made as short as it gets."""
    telling = type("Story", (Story,), {"ground": ground})
    told = settings(
        max_examples=stories,
        stateful_step_count=steps,
        deadline=None,
        derandomize=False,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=[*HealthCheck],
        phases=[Phase.generate, *([Phase.shrink] if os.environ.get("SHRINK") else [])],
    )
    print(f"stories of seed {number}")  # noqa: T201 - shown where it fails
    run_state_machine_as_test(seed(number)(telling), settings=told)


@pytest.fixture(scope="module")
def on_a_folder(postgres: PostgresServer, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    path = tmp_path_factory.mktemp("stories")
    with postgres.database(migrated) as dsn, opened_ground(dsn, lambda: folder(path)) as ground:
        yield ground


@pytest.fixture(scope="module")
def on_a_bucket(
    postgres: PostgresServer, migrated: str, seaweed: Seaweed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    path = tmp_path_factory.mktemp("stories")

    def store() -> AbstractAsyncContextManager[Any]:
        return bucket(seaweed, path)

    with postgres.database(migrated) as dsn, opened_ground(dsn, store) as ground:
        yield ground


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(4))
def test_nothing_is_lost_and_nothing_kept_on_a_folder(on_a_folder: Ground, number: int) -> None:
    tell_stories(on_a_folder, number, 20)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(2))
def test_nothing_is_lost_and_nothing_kept_in_a_bucket(on_a_bucket: Ground, number: int) -> None:
    tell_stories(on_a_bucket, 100 + number, 10)
