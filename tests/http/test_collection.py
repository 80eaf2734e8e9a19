"""The service collects by itself, and `refkeep gc` says what it does and does it by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx
import pytest

from tests.parts.blobs import files_under
from tests.parts.caller import sha256_of
from tests.parts.fresh import fresh_text
from tests.parts.postgres import session
from tests.parts.service import Done, Refkeep, Yard, eventually, refkeep_here

BRIEFLY = {"ORPHAN_RETENTION": "1ms", "QUARANTINE": "1ms", "GC_INTERVAL": "50ms"}


def stored(service: Refkeep) -> set[str]:
    return {path for path in files_under(service.data_dir / "blobs") if "." in path}


def gc(service: Refkeep, *words: str, **settings: object) -> tuple[int, str, str]:
    done = refkeep_here("gc", *words, DATA_DIR=service.data_dir, DATABASE_URL=service.database_url, **settings)
    return done.status, done.stdout, done.stderr


def test_the_service_removes_what_nothing_needs_and_measures_what_is_left(yard: Yard) -> None:
    with yard.running(**BRIEFLY) as service:
        acme = service.caller()
        kept = fresh_text()
        with httpx.Client(base_url=service.url) as http:
            slot = "/refs/document/7/file"
            headers = {"authorization": f"Bearer {acme.token}"}
            assert http.post(slot, content=kept, headers=headers).status_code == 201
        for _ in range(5):
            acme.upload(fresh_text())
        eventually(lambda: len(stored(service)) == 1)
        assert sha256_of(kept) in stored(service).pop()
        eventually(lambda: 'media_gc_backlog{stage="stale"' in httpx.get(f"{service.url}/metrics").text)
        told = httpx.get(f"{service.url}/metrics").text
        for step in ("condemned", "deleted"):
            assert f'media_gc_collected_total{{step="{step}",worker="0"}} 5.0\n' in told


def test_a_service_that_may_not_write_collects_nothing_and_measures_what_is_due(yard: Yard) -> None:
    with yard.running(READ_ONLY="true", **BRIEFLY) as service:
        eventually(lambda: 'media_gc_backlog{stage="delete"' in httpx.get(f"{service.url}/metrics").text)
        assert "sentinel" not in files_under(service.data_dir / "blobs" / "objects")
        assert "media_gc_collected" not in httpx.get(f"{service.url}/metrics").text


@pytest.fixture
def waste(yard: Yard) -> Iterator[Refkeep]:
    """A service that has stopped, with three blobs that nothing needs and one that a ref does."""
    with yard.postgres.database() as url, yard.running(DATABASE_URL=url, ORPHAN_RETENTION="1ms") as service:
        acme = service.caller()
        acme.post("document/7/file", fresh_text())
        for _ in range(3):
            acme.upload(fresh_text(100))
        service.stop()
        yield service


def test_a_plan_counts_and_changes_nothing(waste: Refkeep) -> None:
    before = stored(waste)
    for words in (("plan",), ("run", "--dry-run")):
        code, out, _ = gc(waste, *words, "--json")
        plan = json.loads(out)
        assert code == 0
        assert plan["release"] == plan["condemn"] == {"count": 3, "bytes": 300}
        assert plan["objects"]["count"] == 4
        assert plan["percent"] == 75.0
    assert stored(waste) == before
    assert "holdings past their lease" in gc(waste, "plan")[1]


def test_a_run_stops_before_it_deletes_too_much(waste: Refkeep) -> None:
    code, _, err = gc(waste, "run", "--max-delete-percent", "50")
    assert code == 3
    assert "75.0 % of all objects" in err
    assert json.loads(gc(waste, "plan", "--json")[1])["release"]["count"] == 3


def test_a_run_collects_everything_and_says_what(waste: Refkeep) -> None:
    code, out, _ = gc(waste, "run", "--json", "--max-delete-percent", "80", QUARANTINE="1ms")
    assert code == 0
    done = json.loads(out)
    assert done["released"] == done["condemned"] == {"count": 3, "bytes": 300}
    code, out, _ = gc(waste, "run", QUARANTINE="1ms")
    assert code == 0
    assert "deleted" in out
    assert len(stored(waste)) == 1
    status = json.loads(gc(waste, "status", "--json")[1])
    assert status == {"store": "right", "stale": 0, "reviews": 0, "uploads": 0, "condemned": 0, "oldest": None}


def test_a_wrong_folder_is_told_and_nothing_is_collected(waste: Refkeep) -> None:
    waste.data_dir.joinpath("blobs").rename(waste.data_dir / "unmounted")
    code, _, err = gc(waste, "run")
    assert code == 1
    assert "not the right one" in err
    assert "no sentinel" in gc(waste, "status")[1]
    assert json.loads(gc(waste, "plan", "--json")[1])["release"]["count"] == 3


def everything(service: Refkeep) -> tuple[set[str], list[str]]:
    """The files of the store, and every row of every table but the statistics of Postgres."""
    return files_under(service.data_dir / "blobs" / "objects"), asyncio.run(_rows(str(service.database_url)))


async def _rows(url: str) -> list[str]:
    async with session(url) as connection:
        tables = await connection.fetch("SELECT relname FROM pg_stat_user_tables ORDER BY relname")
        return [str(await connection.fetch(f"SELECT xmin, * FROM {table['relname']}")) for table in tables]


def test_a_look_at_what_is_due_writes_nothing_to_database_or_store(yard: Yard) -> None:
    """Also before anything was ever collected, and while the fence lags."""
    with yard.postgres.database() as url, yard.running(DATABASE_URL=url, READ_ONLY="true") as service:
        before = everything(service)
        for words in (("gc", "status"), ("gc", "plan"), ("gc", "run", "--dry-run"), ("fsck", "--dry-run")):
            assert run_here(service, *words).status == 0
            assert everything(service) == before, words
        assert run_here(service, "fsck", "--adopt", "--dry-run").status == 0
        assert everything(service) == before


@pytest.mark.parametrize(
    "words",
    [
        "gc run",
        "fsck",
        "fsck --adopt",
        "fsck --repair-quota",
        "scrub",
        "migrate-store --to s3://elsewhere",
        "events drop --before 1d",
        "keys create --name x --workspace acme",
        "keys revoke x",
        "workspaces create x",
    ],
)
def test_a_command_that_writes_does_not_where_nothing_may_be_written(waste: Refkeep, words: str) -> None:
    before = everything(waste)
    done = run_here(waste, *words.split(), READ_ONLY="true")
    assert (done.status, done.stdout) == (5, "")
    assert done.stderr == "Error: Nothing was changed: REFKEEP_READ_ONLY is set.\n"
    assert everything(waste) == before


def run_here(service: Refkeep, *words: str, **settings: object) -> Done:
    return refkeep_here(*words, DATA_DIR=service.data_dir, DATABASE_URL=service.database_url, **settings)
