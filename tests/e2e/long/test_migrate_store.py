"""5,000 blobs go from a folder to a bucket while clients read, write and give up: killed twice, nothing lost."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from tests.parts.blobs import files_under
from tests.parts.caller import problem
from tests.parts.moving_house import Clients, House, Story, move_all, opened_house, told
from tests.parts.postgres import PostgresServer
from tests.parts.seaweed import Seaweed
from tests.parts.service import Refkeep, Yard, eventually, readiness

BLOBS = 5000


@pytest.mark.timeout(3600)
def test_5000_blobs_move_while_clients_work_and_none_is_lost_though_it_is_killed_twice(
    postgres: PostgresServer, seaweed: Seaweed, tmp_path: Path
) -> None:
    yard = Yard(tmp_path, postgres)
    with opened_house(yard, seaweed, tmp_path / "data", "moves-5000") as house:
        began = time.monotonic()

        def look(story: Story, new: Refkeep, crowd: Clients) -> None:
            print(f"\n{story.killed_at} copies when killed; {story.seconds}; {time.monotonic() - began:.0f} s in all")  # noqa: T201
            print(story.copied, story.finished, story.faults, dict(story.done), len(story.failures), len(story.lost))  # noqa: T201
            _look_back(house, new, crowd)

        kills, throttle = [1000, 2500], ("--rate", "20MB")
        story = move_all(house, blobs=BLOBS, kills=kills, clients=4, throttle=throttle, look_back=look)
        assert 0 < story.killed_at[0] < story.killed_at[1] < BLOBS, "it was killed in the middle"
        assert story.failures == []
        assert story.lost == []
        assert story.not_yet == 3
        assert (story.finished["finished"], story.finished["findings"]) == (True, [])
        assert story.copied["copied"]["count"] + story.copied["read_back"] >= BLOBS - story.killed_at[1]


def _look_back(house: House, new: Refkeep, clients: Clients) -> None:
    """Every byte of the new store hashes to its name; a replica with the settings of old takes nothing and says why."""
    read = told(house.command("scrub", "--json", **house.bucket))
    assert (read["well"], read["left"]) == (True, 0)
    assert told(house.command("fsck", "--min-age", "0", "--json", **house.bucket))["well"]
    untouched = files_under(house.data_dir / "blobs/objects")
    with house.yard.launched("serve", DATABASE_URL=house.url, data_dir=house.data_dir) as late:
        eventually(lambda: "migrate-store" in _storage(late))
        content = b"sent to a replica that nobody restarted"
        refused = late.bearer(clients.token).http.post("/blobs", content=content)
        assert "settings of the store" in problem(refused, 503, "storage-unavailable")["detail"]
        assert new.bearer(clients.token).http.post("/blobs", content=content).status_code == 201
    assert files_under(house.data_dir / "blobs/objects") == untouched
    again = house.here("--finish", **house.bucket)
    assert (again.status, "No move is under way" in again.stderr) == (2, True)


def _storage(service: Refkeep) -> str:
    try:
        return readiness(service)[1].get("storage", "")
    except httpx.TransportError:
        return ""
