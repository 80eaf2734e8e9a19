"""How stories are told: on a folder or a bucket, of a seed, as many and as long as asked for."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from service.adapters.filesystem.storage import FilesystemStorage
from tests.machine.ground import Ground
from tests.machine.story import Story
from tests.parts.buckets import emptied_bucket, opened
from tests.parts.seaweed import Seaweed

STEPS = 100


@asynccontextmanager
async def folder(path: Path) -> AsyncIterator[Any]:
    """A store in a folder."""
    store = FilesystemStorage(path)
    await store.aopen()
    yield store


@asynccontextmanager
async def bucket(server: Seaweed, path: Path) -> AsyncIterator[Any]:
    """A store in a bucket, with its spool in a folder."""
    async with opened(await emptied_bucket(server), path) as store:
        yield store


def tell_stories(ground: Ground, number: int, stories: int) -> None:
    """Some stories of this seed. With SHRINK=1 in the environment a failing one is made as short as it gets."""
    telling = type("Story", (Story,), {"ground": ground})
    shrink = [Phase.shrink] if os.environ.get("SHRINK") else []
    told = settings(
        max_examples=stories,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=False,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=[*HealthCheck],
        phases=[Phase.generate, *shrink],
    )
    run_state_machine_as_test(seed(number)(telling), settings=told)
