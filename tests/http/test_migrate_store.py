"""The command: what it takes, what it says. What it does under clients: `make e2e`, and tests/adapters."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.postgres.migration import migrate
from service.commands.moving import migrate_store
from service.domain.blob import Sha256
from tests.parts.caller import sha256_of
from tests.parts.collecting import opened_yard
from tests.parts.ledgers import opened_database, postgres_ledger
from tests.parts.moving_house import House, opened_house
from tests.parts.seaweed import Seaweed
from tests.parts.service import Refkeep, Yard, command_here, fetch

BLOBS = 30
LATE = b"sent to a replica with the new store"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "No move is under way: --to says where to."),
        ("--to {own}", "is the store of these settings already"),
        ("--to {own}/objects/blobs", "lies within"),
        ("--to file:///srv/new", "as file:///srv/new/blobs"),
        ("--to /srv/blobs", "is not a location such as file:///"),
        ("--to s3://key:secret@bucket", "is not a location such as file:///"),
        ("--leave-damaged --to file:///srv", "--leave-damaged goes with --finish."),
        ("--to file:///srv --rate 0", "is not a size"),
        ("--to file:///srv --objects 0", "is not in the range"),
        ("--to file:///srv --jobs 65", "is not in the range"),
    ],
)
def test_a_wrong_option_is_told_in_a_sentence(service: Refkeep, words: str, complaint: str) -> None:
    asked = words.format(own=f"file://{service.data_dir / 'blobs'}").split()
    done = command_here(migrate_store, *asked, DATABASE_URL=service.database_url, DATA_DIR=service.data_dir)
    assert (done.status, complaint in " ".join(done.stderr.split())) == (2, True), done.stderr


async def _three_blobs(house: House) -> list[Sha256]:
    """In the folder, without a service."""
    store = FilesystemStorage(house.data_dir / "blobs")
    await store.aopen()
    await migrate({"dsn": house.url})
    async with (
        opened_database(house.url) as database,
        opened_yard(database, store, postgres_ledger(database)) as yard,
    ):
        await yard.collector()()
        workspace = await yard.ledger.workspace()
        return [await yard.upload(workspace) for _ in range(3)]


def test_from_folder_to_folder_and_back_in_words_for_people(yard: Yard, seaweed: Seaweed, tmp_path: Path) -> None:
    with opened_house(yard, seaweed, tmp_path / "data", "moves-back") as house:
        lost, damaged, whole = asyncio.run(_three_blobs(house))
        [gone, broken] = [
            path for name in (lost, damaged) for path in (tmp_path / "data/blobs/objects").rglob(f"{name}.*")
        ]
        gone.unlink()
        broken.write_bytes(broken.read_bytes()[::-1])
        new = f"file://{tmp_path / 'new/blobs'}"
        told = house.here("--to", new, "--dry-run")
        assert (told.status, told.stdout.splitlines()[2].split("\t")[:2], told.stderr) == (
            (0, ["copied", "3"], "Nothing was changed.\n")
        )
        assert house.here("--to", new, READ_ONLY="true").status == 5
        told = house.here("--to", new)
        assert (told.status, f"missing\t{gone.relative_to(tmp_path / 'data/blobs/objects')}" in told.stdout) == (
            4,
            True,
        )
        assert house.here("--finish").status == 4
        other = house.here("--to", f"file://{tmp_path / 'third/blobs'}")
        assert (other.status, "is under way" in other.stderr) == (1, True)
        back = house.here("--to", f"file://{tmp_path / 'data/blobs'}")
        assert (back.status, "Next: restart" in back.stderr) == (0, True)
        there = house.here("--to", new)
        assert (there.status, whole in str([*(tmp_path / "new").rglob("*")])) == (4, True)
        done = house.here("--finish", "--leave-damaged")
        assert (done.status, done.stderr.startswith("Done.")) == (0, True)


def test_a_new_store_that_is_lost_for_good_is_left_by_way_of_an_empty_one(
    yard: Yard, seaweed: Seaweed, tmp_path: Path
) -> None:
    with opened_house(yard, seaweed, tmp_path / "data", "moves-lost") as house:
        hashes = asyncio.run(_three_blobs(house))
        old, new = tmp_path / "data/blobs", tmp_path / "new/blobs"
        assert house.here("--to", f"file://{new}").status == 0
        [workspace] = asyncio.run(fetch(house.url, "SELECT slug FROM workspaces"))
        replace(house, data_dir=tmp_path / "new").fill(workspace["slug"], [LATE])
        shutil.rmtree(new)

        turned = house.here("--to", f"file://{old}")
        assert (turned.status, "it shows no sentinel" in turned.stderr) == (1, True)
        again = house.here("--to", f"file://{new}")
        assert (again.status, f"missing\t{sha256_of(LATE)[:2]}/" in again.stdout) == (0, True)
        assert house.here("--to", f"file://{old}").status == 0
        done = house.here("--finish")
        assert (done.status, done.stderr.startswith(f"Done. file://{new} is not used any more")) == (0, True)

        late = house.command("doctor", "--only", "sentinel", DATA_DIR=tmp_path / "new")
        assert f"REFKEEP_STORAGE=filesystem REFKEEP_DATA_DIR={tmp_path}/data" in late.stdout
        checked = house.command("fsck", "--json")
        assert (checked.status, json.loads(checked.stdout)["counts"]["missing"]["count"]) == (4, 1)
        assert {path.name.split(".")[0] for path in (old / "objects").rglob("*.*")} == {*hashes}
        assert house.here("--to", f"file://{tmp_path / 'third/blobs'}", "--dry-run").status in {0, 4}
