"""The service beside its repair: marked bytes over HTTP, healing by upload, and the commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from service.application.guard_store import NOTES
from tests.parts.blobs import files_under
from tests.parts.caller import Caller, sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.service import Done, Refkeep, Yard, eventually, is_ready, refkeep_here
from tests.parts.wire import bearer, connected, head

LOST, DAMAGED = "lost", "damaged"


@contextmanager
def started(yard: Yard) -> Iterator[Refkeep]:
    """A service whose collector looks often, once it has raised its fence."""
    with yard.postgres.database() as url, yard.running(DATABASE_URL=url, GC_INTERVAL="50ms") as service:
        eventually((service.data_dir / "blobs/objects/fence").exists)
        yield service


@pytest.fixture(scope="module")
def service(yard: Yard) -> Iterator[Refkeep]:
    """For tests that heal what they spoil."""
    with started(yard) as made:
        yield made


@pytest.fixture
def lonely(yard: Yard) -> Iterator[Refkeep]:
    """A service of the test's own."""
    with started(yard) as made:
        yield made


def refkeep(service: Refkeep, *words: str) -> Done:
    return refkeep_here(*words, DATA_DIR=service.data_dir, DATABASE_URL=service.database_url)


def report(service: Refkeep, *words: str) -> tuple[int, Any]:
    """The exit status and the JSON report of a command."""
    done = refkeep(service, *words, "--json")
    return done.status, json.loads(done.stdout)


def spoil(service: Refkeep, sha256: str, how: str) -> None:
    """Do to the bytes of a blob what happens to bytes."""
    [key] = [path for path in files_under(service.data_dir / "blobs/objects") - NOTES if sha256 in path]
    path = service.data_dir / "blobs/objects" / key
    if how == LOST:
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)


def find(service: Refkeep, how: str) -> None:
    """Have the damage found."""
    status, found = report(service, "fsck" if how == LOST else "scrub")
    assert status == 4
    assert found["counts"]["missing" if how == LOST else "corrupt"]["count"] == 1


def health_events(caller: Caller) -> list[dict[str, Any]]:
    events = caller.http.get("/events", params={"limit": 500}).json()["events"]
    return [event for event in events if event["type"].startswith("refkeep.blob.")]


@pytest.mark.parametrize("how", [LOST, DAMAGED])
def test_marked_bytes_are_a_fault_until_they_are_sent_again(service: Refkeep, how: str) -> None:
    acme, globex, anyone = service.caller(), service.caller(), service.bearer(None)
    content = fresh_jpeg()
    acme.put("book/1/cover/0", content)
    sha256 = sha256_of(content)
    spoil(service, sha256, how)
    find(service, how)
    for response in (
        anyone.http.get(f"/blobs/{sha256}"),
        acme.http.get(f"/blobs/{sha256}", headers={"range": "bytes=0-9"}),
    ):
        assert (response.status_code, response.json()["code"]) == (500, "blob-missing")
        assert response.headers["cache-control"] == "no-store"
    assert anyone.http.head(f"/blobs/{sha256}").status_code == 500
    known = anyone.http.get(f"/blobs/{sha256}", headers={"if-none-match": f'"{sha256}"'})
    assert known.status_code == 304, "who has the bytes needs none"
    for caller in (acme, globex):
        assert caller.http.post("/blobs/missing", json={"sha256": [sha256]}).json() == {"missing": [sha256]}
    refused = acme.put("book/2/cover/0", sha256)
    assert (refused.status_code, refused.json()["code"]) == (422, "blob-not-held")
    assert acme.http.put(f"/blobs/{sha256}", content=content).json()["decision"] == "duplicate"
    assert anyone.http.get(f"/blobs/{sha256}").content == content
    assert acme.put("book/2/cover/0", sha256).status_code == 201
    [broken, healed] = health_events(acme)
    assert broken["type"] == f"refkeep.blob.{'missing' if how == LOST else 'corrupt'}.v1"
    assert (healed["type"], healed["subject"]) == ("refkeep.blob.healed.v1", f"blobs/{sha256}")
    assert healed["data"]["health"] == "ok"
    assert health_events(globex) == []
    assert (refkeep(service, "fsck").status, refkeep(service, "scrub").status) == (0, 0)


def test_who_else_sends_the_bytes_is_not_told_to_their_holders(service: Refkeep) -> None:
    acme, globex = service.caller(), service.caller()
    content = fresh_text()
    sha256 = acme.upload(content)
    spoil(service, sha256, LOST)
    find(service, LOST)
    sent = globex.http.put(f"/blobs/{sha256}", content=content)
    assert (sent.status_code, sent.json()["decision"]) == (201, "insert")
    [_, healed] = health_events(acme)
    assert healed["data"]["actor"] == "repair"
    assert globex.workspace not in json.dumps(healed)
    assert "traceparent" not in healed["data"]
    assert acme.http.get(f"/blobs/{sha256}").content == content
    [told] = health_events(globex)
    assert told["type"] == "refkeep.blob.healed.v1"


def test_a_client_that_waits_for_100_continue_sends_marked_bytes(service: Refkeep) -> None:
    acme = service.caller()
    content = fresh_text()
    sha256 = acme.upload(content)
    waits = {**bearer(acme.token), "Expect": "100-continue", "Content-Length": len(content)}
    with connected(service.port) as wire:
        wire.send(head("PUT", f"/blobs/{sha256}", waits))
        early = wire.response()
        assert early is not None
        assert (early.status_code, early.json()["decision"]) == (200, "duplicate")
    spoil(service, sha256, LOST)
    find(service, LOST)
    with connected(service.port) as wire:
        wire.send(head("PUT", f"/blobs/{sha256}", waits))
        asked = wire.response()
        assert asked is not None
        assert asked.status_code == 100
        wire.send(content)
        answer = wire.response()
        assert answer is not None
        assert (answer.status_code, answer.json()["decision"]) == (200, "duplicate")
    assert acme.http.get(f"/blobs/{sha256}").content == content


def test_what_is_marked_is_measured(lonely: Refkeep) -> None:
    acme = lonely.caller()

    def failures(health: str) -> float | None:
        for line in httpx.get(f"{lonely.url}/metrics").text.splitlines():
            if line.startswith("media_integrity_failures") and f'health="{health}"' in line:
                return float(line.split()[-1])
        return None

    eventually(lambda: failures("missing") == failures("corrupt") == 0)
    lost, damaged = acme.upload(fresh_text()), acme.upload(fresh_text())
    spoil(lonely, lost, LOST)
    spoil(lonely, damaged, DAMAGED)
    assert report(lonely, "scrub")[0] == 4
    eventually(lambda: failures("missing") == failures("corrupt") == 1)


def test_a_database_behind_the_fence_serves_on_and_says_what_to_do(lonely: Refkeep) -> None:
    acme = lonely.caller()
    sha256 = acme.upload(fresh_text())
    stray = lonely.data_dir / "blobs/objects" / f"ab/cd/abcd{'0' * 60}.0199aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"not what it says")
    (lonely.data_dir / "blobs/objects/fence").write_text("1000")
    for words in (["gc", "run"], ["fsck"]):
        complaint = refkeep(lonely, *words).complaint()
        assert "refkeep fsck --adopt" in complaint
        assert "its store to 1000" in complaint
    assert "fsck --adopt" in refkeep(lonely, "gc", "status").stdout
    assert is_ready(lonely)
    assert acme.http.get(f"/blobs/{sha256}").status_code == 200
    acme.upload(fresh_text())
    status, found = report(lonely, "fsck", "--adopt", "--workspace", acme.workspace)
    assert (status, found["counts"]["foreign"]["count"]) == (4, 1)
    assert "after a restore" in refkeep(lonely, "gc", "status").stdout
    assert stray.exists()
    status, found = report(lonely, "fsck", "--min-age", "0")
    assert (status, found["counts"], found["well"]) == (0, {"garbage": {"count": 1, "bytes": 16}}, True)
    assert not stray.exists()


def test_fsck_and_scrub_report_to_people_and_to_scripts(lonely: Refkeep) -> None:
    acme = lonely.caller()
    hashes = [acme.upload(fresh_text(100)) for _ in range(3)]
    done = refkeep(lonely, "fsck")
    assert (done.status, done.stderr) == (0, "")
    assert "seen\t3\t300 bytes" in done.stdout
    spoil(lonely, hashes[0], LOST)
    done = refkeep(lonely, "fsck", "--dry-run")
    assert done.status == 4
    assert f"missing\t{hashes[0][:2]}/" in done.stdout
    assert health_events(acme) == []
    status, found = report(lonely, "scrub", "--max-bytes", "1", "--max-time", "1h", "--rate", "1MB")
    assert (status, found["rows"], found["bytes"]) == (4, 2, 100), "one was lost, one was read"
    lonely.sql("UPDATE workspaces SET used_items = used_items + 1")
    spoil(lonely, hashes[1], DAMAGED)
    assert report(lonely, "scrub")[1]["counts"] == {
        "corrupt": {"count": 1, "bytes": 100},
        "missing": {"count": 1, "bytes": 100},
    }
    done = refkeep(lonely, "fsck")
    assert "drift" in done.stdout
    status, found = report(lonely, "fsck", "--repair-quota")
    assert (status, found["drift"], len(found["findings"]), found["complete"]) == (4, [], 2, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fsck", "--workspace", "acme"], "goes with --adopt"),
        (["fsck", "--adopt", "--max-delete-percent", "5"], "removes nothing"),
        (["fsck", "--adopt", "--repair-quota"], "removes nothing"),
        (["fsck", "--max-delete-percent", "101"], "not in the range"),
        (["fsck", "--max-delete-percent", "nan"], "not in the range"),
        (["gc", "run", "--max-delete-percent", "nan"], "not in the range"),
        (["migrate-store", "--to", "file:///x", "--objects", "nan"], "not in the range"),
        (["workspaces", "create", "acme", "--max-bytes", str(2**63)], "not in the range"),
        (["fsck", "--min-age", "old"], "is not a duration"),
        (["scrub", "--rate", "0"], "is not a size"),
        (["scrub", "--max-bytes", "-1"], "is not a size"),
        (["scrub", "--older-than", "1w"], "is not a duration"),
    ],
)
def test_a_wrong_option_is_a_sentence(words: list[str], says: str, yard: Yard) -> None:
    done = refkeep_here(*words, DATA_DIR=yard.folder / "none")
    assert done.status == 2
    assert says in done.complaint()
    assert not (yard.folder / "none").exists()


def test_a_workspace_that_does_not_exist_is_told_before_anything_is_done(lonely: Refkeep) -> None:
    (lonely.data_dir / "blobs/objects/fence").write_text("1000")
    assert "There is no workspace nobody" in refkeep(lonely, "fsck", "--adopt", "--workspace", "nobody").complaint()
    assert "its store to 1000" in refkeep(lonely, "fsck").complaint()


def test_too_much_garbage_is_an_exit_status_of_its_own(lonely: Refkeep) -> None:
    acme = lonely.caller()
    acme.upload(fresh_text())
    lonely.stop()
    lonely.sql("DELETE FROM holding_reviews")
    key = f"ab/cd/abcd{'0' * 60}.0199aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"
    stray = lonely.data_dir / "blobs/objects" / key
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"stray")
    done = refkeep(lonely, "fsck", "--max-delete-percent", "10")
    assert (done.status, stray.exists()) == (3, True)
    assert "50.0 % of all stored objects" in done.stderr
