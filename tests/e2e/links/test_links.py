"""The links of our document, followed for minutes: what tests/http/test_stateful.py does, further."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parts.following import follow
from tests.parts.postgres import PostgresServer
from tests.parts.service import Yard

SIGNING_KEY = "2026:c2lnbmVkIGJ5IHRoZSB0ZXN0cw=="
SCENARIOS, STEPS = 60, 24


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_long_ways_along_the_links_meet_nothing_undocumented(
    postgres: PostgresServer, tmp_path: Path, seed: int
) -> None:
    with Yard(tmp_path, postgres).running(SIGNING_KEYS=SIGNING_KEY) as service:
        seen = follow(service, seed=seed, scenarios=SCENARIOS, steps=STEPS)
    assert seen.answers.total() >= 15 * SCENARIOS
    assert seen.went("post_ref", "delete_media", "restore_media", "delete_media")
