"""`refkeep events`: what an operator reads, proves, tells again and drops."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.parts.caller import Caller
from tests.parts.fresh import fresh_text
from tests.parts.service import REFKEEP, Done, Refkeep, Yard, environment, refkeep_here


@pytest.fixture(scope="module")
def kept(yard: Yard) -> Iterator[Refkeep]:
    """A service whose whole log is the tests' own."""
    with yard.running() as started:
        yield started


@pytest.fixture
def caller(kept: Refkeep) -> Caller:
    """A caller in a new workspace."""
    return kept.caller("read", "write")


def command(service: Refkeep, *words: str) -> Done:
    return refkeep_here("events", *words, DATA_DIR=service.data_dir, DATABASE_URL=service.database_url)


def lines(done: Done) -> list[Any]:
    assert done.status == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_tail_tells_everything_and_what_it_is_asked_for(kept: Refkeep, caller: Caller) -> None:
    operator = kept.bearer(kept.key(None, "operator"))
    name = caller.upload(fresh_text())
    caller.post("document/7/file", name)
    assert operator.http.put(f"/holds/{name}", json={"kind": "legal", "reason": "x"}).status_code == 201

    own = lines(command(kept, "tail", "--json", "--workspace", caller.workspace))
    assert [event["type"].split(".")[1] for event in own] == ["holding", "ref", "hold"]
    every = lines(command(kept, "tail", "--json"))
    [record] = [event for event in every if event["subject"] == f"blobs/{name}" and event["data"]["workspace"] is None]
    assert record["data"]["hold"]["reason"] == "x"  # which no workspace reads
    assert [e["id"] for e in lines(command(kept, "tail", "--json", "--lines", "1"))] == [every[-1]["id"]]
    assert lines(command(kept, "tail", "--json", "--workspace", caller.workspace, "--after", own[0]["id"])) == own[1:]
    narrow = ["--workspace", caller.workspace, "--entity", "document/7"]
    assert lines(command(kept, "tail", "--json", *narrow)) == own[1:2]
    text = command(kept, "tail", *narrow).stdout
    assert "ref.inserted  document/7  version 1" in text
    operator.http.delete(f"/holds/{name}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tail", "--entity", "book"], "TYPE/ID"),
        (["tail", "--decision", "never"], "one of insert"),
        (["tail", "--after", "x"], "cursor"),
        (["tail", "--workspace", "nobody"], "no workspace"),
        (["tail", "--sha256", "AB"], "64 lower-case"),
        (["replay", "--until", "yesterday"], "no cursor and no time"),
        (["replay", "--until", "0001-01-01T00:00:00+14:00"], "no cursor and no time"),
        (["replay", "--until", "9999-12-31T23:59:59-14:00"], "no cursor and no time"),
        (["tail", "--lines", str(2**63)], "not in the range"),
        (["drop"], "--before"),
        (["drop", "--before", "soon"], "no cursor and no time"),
        (["drop", "--before", "ffff-1-0"], "cursor"),
    ],
)
def test_bad_words_are_complained_of_in_a_sentence(kept: Refkeep, words: list[str], said: str) -> None:
    assert said in command(kept, *words).complaint()


def test_verify_agrees_then_finds_what_was_changed_behind_the_log(kept: Refkeep, caller: Caller) -> None:
    name = caller.upload(fresh_text())
    caller.post("document/7/file", name)
    agreed = command(kept, "verify", "--json")
    document = json.loads(agreed.stdout)
    assert (agreed.status, document["differences"]) == (0, [])
    assert document["compared"]["entity"] >= 1
    own = "workspace_id = (SELECT id FROM workspaces WHERE slug = $1)"
    kept.sql(f"UPDATE refs SET alt = 'forged' WHERE {own}", caller.workspace)
    differing = command(kept, "verify")
    assert differing.status == 3
    assert f"entity {caller.workspace} document 7: they differ in the refs" in differing.stderr
    kept.sql("UPDATE refs SET alt = NULL WHERE alt = 'forged'")
    assert command(kept, "verify").status == 0


def test_replay_tells_what_an_entity_was(kept: Refkeep, caller: Caller) -> None:
    first, second = caller.upload(fresh_text()), caller.upload(fresh_text())
    inserted = caller.post("document/7/file", first).json()
    caller.post("document/7/file", second)
    narrow = ["--workspace", caller.workspace, "--entity", "document/7"]
    [now] = lines(command(kept, "replay", *narrow))
    assert [ref["sha256"] for ref in now["live"]["file"]] == [first, second]
    [then] = lines(command(kept, "replay", *narrow, "--until", inserted["event"]))
    assert (then["entity"]["version"], [ref["sha256"] for ref in then["live"]["file"]]) == (1, [first])
    assert lines(command(kept, "replay", *narrow, "--until", inserted["ref"]["created_at"])) == [then]
    assert lines(command(kept, "replay", *narrow, "--until", "2020-01-01T00:00:00")) == []
    whole = lines(command(kept, "replay", "--workspace", caller.workspace))
    assert {line["sha256"] for line in whole if "holding" in line} == {first, second}


def test_drop_counts_drops_and_keeps_the_proof(yard: Yard) -> None:
    with yard.running() as service:
        caller = service.caller("read", "write")
        for _ in range(3):
            caller.post("document/7/file", caller.upload(fresh_text()))
        ids = [event["id"] for event in caller.events()]
        counted = json.loads(command(service, "drop", "--before", ids[2], "--dry-run", "--json").stdout)
        assert counted == {"dry_run": True, "events": 3, "until": None}
        assert len(caller.events()) == 6
        dropped = json.loads(command(service, "drop", "--before", ids[2], "--batch", "2", "--json").stdout)
        assert dropped == {"dry_run": False, "events": 3, "until": ids[2]}
        assert command(service, "verify").status == 0
        assert len(lines(command(service, "tail", "--json"))) == 3
        assert "/snapshot" in command(service, "tail", "--after", ids[0]).complaint()
        assert "/snapshot" in command(service, "replay", "--until", ids[0]).complaint()
        assert "0" in command(service, "drop", "--before", "1d").stdout
        status = json.loads(command(service, "status", "--json").stdout)
        assert (status["first"], status["last"], status["dropped_until"]) == (ids[3], ids[5], ids[2])
        assert (status["dropped"], status["waiting"], status["blocker_pid"]) == (3, 0, None)
        assert "dropped_until" in command(service, "status").stdout


def test_a_tail_that_is_followed_ends_with_ctrl_c(kept: Refkeep, caller: Caller) -> None:
    caller.upload(fresh_text())
    settings = environment(DATA_DIR=kept.data_dir, DATABASE_URL=kept.database_url)
    heeding = ["env", "--default-signal=INT"]  # a suite that runs in the background hands on that Ctrl-C is not for it
    command = [*heeding, REFKEEP, "events", "tail", "--follow", "--lines", "1"]
    with subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "holding.acquired" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=30)
    assert (process.returncode, told) == (130, ("", "\n"))
