"""The drill of docs/backup.md: a dump and a copy of the store from different times, restored elsewhere."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service.adapters.postgres.embedded import embedded_postgres
from tests.parts.caller import Caller, problem
from tests.parts.dumps import dump, restore
from tests.parts.fresh import fresh_jpeg
from tests.parts.postgres import PostgresServer
from tests.parts.service import Done, Refkeep, Yard, refkeep_here


@dataclass
class Past:
    """What was backed up: bytes by the entity that shows them, from each time; the copies; where a consumer stood."""

    workspace: str
    token: str
    early: dict[str, bytes] = field(default_factory=dict)
    dumped: dict[str, bytes] = field(default_factory=dict)
    late: list[bytes] = field(default_factory=list)
    dump: bytes = b""
    events: list[str] = field(default_factory=list)
    cursor: str = ""
    copies: dict[str, Path] = field(default_factory=dict)


@pytest.fixture(scope="module")
def yard(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Yard:
    return Yard(tmp_path_factory.mktemp("drill"), postgres)


@pytest.fixture(scope="module")
def past(yard: Yard) -> Iterator[Past]:
    """A store copied, a database dumped, a store copied again, with writes in between, while all was running."""
    with yard.postgres.database() as url, yard.running("serve", "--migrate", DATABASE_URL=url) as service:
        acme = service.caller("read", "write", "admin")
        made = Past(acme.workspace, acme.token)
        shown(acme, "book/1", made.early)
        made.copies["before the dump"] = copied(service, yard.folder / "early")
        shown(acme, "book/2", made.dumped)
        released = shown(acme, "book/3", made.dumped)
        made.events = [event["id"] for event in acme.events()]
        made.dump = dump(url)
        acme.http.delete(f"/media/{released}").raise_for_status()
        acme.http.post(f"/media/{released}/purge").raise_for_status()
        for _ in range(3):
            made.late.append(fresh_jpeg())
            acme.upload(made.late[-1])
        made.cursor = acme.http.get("/events").json()["next"]
        made.copies["after the dump"] = copied(service, yard.folder / "late")
        yield made


def shown(acme: Caller, entity: str, into: dict[str, bytes]) -> str:
    """A cover of an entity; its ref."""
    into[entity] = fresh_jpeg()
    return str(acme.put(f"{entity}/cover/0", into[entity]).json()["ref"]["ref_id"])


def copied(service: Refkeep, target: Path) -> Path:
    """As docs/backup.md says, beside a service that runs."""
    subprocess.run(["cp", "-a", service.data_dir / "blobs" / "objects", target], check=True, timeout=60)
    return target


@contextmanager
def restored(past: Past, yard: Yard, copy: str) -> Iterator[tuple[Refkeep, Caller]]:
    """The dump in a new database, that copy in a new folder, and the service on both."""
    data = yard.folder / copy.replace(" ", "-")
    (data / "blobs").mkdir(parents=True)
    shutil.copytree(past.copies[copy], data / "blobs" / "objects")
    with yard.postgres.database() as url:
        restore(url, past.dump)
        with yard.running("serve", data_dir=data, DATABASE_URL=url) as service:
            yield service, service.bearer(past.token, past.workspace)


def command(service: Refkeep, *words: str) -> Done:
    return refkeep_here(*words, DATA_DIR=service.data_dir, DATABASE_URL=service.database_url)


def report(service: Refkeep, *words: str) -> tuple[int, dict[str, Any]]:
    done = command(service, *words, "--json")
    return done.status, json.loads(done.stdout)


def is_shown(caller: Caller, entity: str, content: bytes) -> bool:
    [ref] = caller.refs(entity)
    return caller.http.get(ref["links"]["file"]).content == content


def test_nothing_is_lost_where_the_store_is_copied_after_the_dump(past: Past, yard: Yard) -> None:
    with restored(past, yard, "after the dump") as (service, acme):
        for entity, content in (past.early | past.dumped).items():
            assert is_shown(acme, entity, content), "served at once, what was purged since the dump included"
        _nothing_is_collected(service)
        _consumers_go_on(past, service, acme)
        status, found = report(service, "fsck", "--adopt", "--workspace", past.workspace)
        assert (status, found["counts"]) == (0, {"adopted": {"count": 3, "bytes": sum(map(len, past.late))}})
        for content in past.late:
            assert acme.http.get(f"/blobs/{acme.upload(content)}").content == content
        assert report(service, "gc", "run")[0] == 0
        assert report(service, "fsck")[0] == 0
        assert report(service, "events", "verify")[0] == 0
        assert all(is_shown(acme, entity, content) for entity, content in (past.early | past.dumped).items())


def _nothing_is_collected(service: Refkeep) -> None:
    for words in (["gc", "run"], ["fsck"], ["scrub"]):
        assert "refkeep fsck --adopt" in command(service, *words).complaint()
    assert "restored from a dump" in report(service, "gc", "status")[1]["store"]
    done = command(service, "doctor", "--only", "sentinel")
    assert (done.status, "fault\tsentinel" in done.stdout) == (1, True)


def _consumers_go_on(past: Past, service: Refkeep, acme: Caller) -> None:
    """Whoever had read to the dump, and whoever had read further: neither misses what comes now."""
    new = acme.put("book/9/cover/0", fresh_jpeg()).json()["event"]
    assert [row["epoch"] for row in service.sql("SELECT epoch FROM epochs ORDER BY epoch")] == [1, 2]
    read = [event["id"] for event in acme.events()]
    assert read[: len(past.events)] == past.events
    for cursor in (past.events[-1], past.cursor):
        assert [event["id"] for event in acme.events(after=cursor)][-1] == new


def test_where_the_store_was_copied_before_the_dump_what_is_missing_is_named_and_healed_by_its_sender(
    past: Past, yard: Yard
) -> None:
    with restored(past, yard, "before the dump") as (service, acme):
        assert all(is_shown(acme, entity, content) for entity, content in past.early.items())
        status, found = report(service, "fsck", "--adopt")
        assert (status, found["counts"]["missing"]["count"]) == (4, len(past.dumped))
        for entity, content in past.dumped.items():
            [ref] = acme.refs(entity)
            problem(acme.http.get(ref["links"]["file"]), 500, "blob-missing")
            asked = acme.http.post("/blobs/missing", json={"sha256": [ref["blob"]["sha256"]]}).json()
            assert asked == {"missing": [ref["blob"]["sha256"]]}
            acme.upload(content)
            assert is_shown(acme, entity, content)
        assert report(service, "fsck")[0] == 0
        assert report(service, "events", "verify")[0] == 0


def test_a_folder_that_was_copied_whole_while_nothing_ran_is_as_it_was(tmp_path: Path) -> None:
    """The backup of an embedded deployment: both halves of one moment, so that nothing is behind."""
    old, new = tmp_path / "old", tmp_path / "new"
    with embedded_postgres(old) as url:
        for words in (["migrate"], ["workspaces", "create", "acme"], ["gc", "run"]):
            assert refkeep_here(*words, DATA_DIR=old, DATABASE_URL=url).status == 0
    subprocess.run(["cp", "-a", old, new], check=True, timeout=60)
    with embedded_postgres(new) as url:
        for words in (["gc", "run"], ["doctor", "--only", "sentinel"]):
            assert refkeep_here(*words, DATA_DIR=new, DATABASE_URL=url).status == 0
        [acme] = json.loads(refkeep_here("workspaces", "list", "--json", DATA_DIR=new, DATABASE_URL=url).stdout)
    assert acme["slug"] == "acme"
