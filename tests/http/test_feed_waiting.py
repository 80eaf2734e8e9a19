"""The feed for those who wait: long polls and streams, their ends, and snapshots to begin from."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import httpx
import pytest

from service.commands import keys as key_commands
from tests.parts.caller import Caller, problem
from tests.parts.fresh import fresh_text
from tests.parts.service import Refkeep, Yard, eventually, fetch
from tests.parts.wire import bearer, connected, head

SSE = {"accept": "text/event-stream"}
WAITERS = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'refkeep' AND state <> 'idle'"""


class Waiting:
    """A request under way in a thread of its own."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._thread = threading.Thread(target=self._run, args=(call,))
        self._thread.start()

    def result(self) -> tuple[Any, float]:
        """What came back, and when."""
        self._thread.join(40)
        assert not self._thread.is_alive(), "no answer"
        return self.answer, self.came

    def _run(self, call: Callable[[], Any]) -> None:
        self.answer, self.came = call(), time.monotonic()


def waiting(caller: Caller, **query: str | int) -> Waiting:
    return Waiting(lambda: caller.http.get("/events", params={"wait": 20, **query}))


def edge(caller: Caller) -> str:
    return str(caller.http.get("/events", params={"limit": 500}).json()["next"])


@contextmanager
def streaming(caller: Caller, **headers: str) -> Iterator[Iterator[dict[str, str]]]:
    """The fields of each event of a stream, heartbeats too."""
    with caller.http.stream("GET", "/events", headers={**SSE, **headers}, timeout=30) as response:
        assert response.status_code == 200
        yield blocks(response)


def blocks(response: httpx.Response) -> Iterator[dict[str, str]]:
    block: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(":")
            block[name or "comment"] = value.strip()
        elif block:
            yield block
            block = {}


def next_event(stream: Iterator[dict[str, str]]) -> dict[str, str]:
    return next(block for block in stream if "event" in block)


# --- long polls -------------------------------------------------------------------------------------------------------


def test_a_wait_is_answered_as_soon_as_something_is_decided(acme: Caller, globex: Caller) -> None:
    late = []
    for _ in range(3):
        start = edge(acme)
        poll = waiting(acme, after=start)
        globex.upload(fresh_text())  # concerns nobody here
        sha256 = acme.upload(fresh_text())
        committed = time.monotonic()
        response, came = poll.result()
        late.append(came - committed)
        [event] = response.json()["events"]
        assert event["data"]["sha256"] == sha256
    assert min(late) < 0.5


def test_a_wait_that_is_over_is_an_empty_page_whose_cursor_moved_on(acme: Caller, globex: Caller) -> None:
    start = edge(acme)
    acme.upload(fresh_text())
    began = time.monotonic()
    page = acme.http.get("/events", params={"after": start, "wait": 1, "decision": "purge"}).json()
    assert 0.9 < time.monotonic() - began < 5
    assert (page["events"], page["caught_up"]) == ([], True)
    assert page["next"] != start


def test_a_wait_with_a_filter_sleeps_through_what_does_not_fit(acme: Caller) -> None:
    poll = waiting(acme, after=edge(acme), entity_type="document", entity_id="9")
    sha256 = acme.upload(fresh_text())
    acme.put("document/8/file/0", sha256)
    acme.put("document/9/file/0", sha256)
    [event] = poll.result()[0].json()["events"]
    assert event["subject"] == "document/9"


def test_what_is_there_already_is_not_waited_for(acme: Caller) -> None:
    acme.upload(fresh_text())
    began = time.monotonic()
    assert len(acme.http.get("/events", params={"wait": 25}).json()["events"]) == 1
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("wait", ["26", "-1", "1.5", "x", "", "null", "1e1"])
def test_no_other_wait_is_taken(acme: Caller, wait: str) -> None:
    problem(acme.http.get("/events", params={"wait": wait}), 400, "bad-request")


@pytest.mark.parametrize("headers", [{}, SSE])
def test_bad_cursors_are_refused_before_anything_waits(acme: Caller, headers: dict[str, str]) -> None:
    for after in ("x", "ffff-1-1", "1-7fffffffffffffff-0"):
        problem(acme.http.get("/events", params={"after": after, "wait": 20}, headers=headers), 400, "bad-cursor")
    problem(acme.http.get("/events", headers={**SSE, "last-event-id": "x"}), 400, "bad-cursor")
    problem(acme.http.get("/events", params={"entity_type": "X"}, headers=headers), 400, "bad-request")
    problem(acme.http.get("/snapshot", params={"limit": 5}), 400, "bad-request")


def test_those_who_wait_keep_no_connection_to_the_database(service: Refkeep, acme: Caller) -> None:
    start = edge(acme)
    polls = [waiting(acme, after=start) for _ in range(30)]  # three times the pool
    caller, other = service.caller("read", "write", workspace=acme.workspace), service.caller("read", "write")
    began = time.monotonic()
    other.upload(fresh_text())
    assert time.monotonic() - began < 5
    caller.upload(fresh_text())
    assert all(poll.result()[0].json()["events"] for poll in polls)


@pytest.mark.parametrize("headers", [{}, SSE])
def test_nobody_waits_on_for_a_client_that_is_gone(service: Refkeep, acme: Caller, headers: dict[str, str]) -> None:
    trace = secrets.token_hex(16)
    asked = {**bearer(acme.token), "traceparent": f"00-{trace}-00f067aa0ba902b7-01", **headers}
    with connected(service.port) as wire:
        wire.send(head("GET", f"/events?wait=25&after={edge(acme)}", asked))
        # A server may leave unread what a reset overtakes: the request must have begun.
        if headers:
            assert wire.socket.recv(10)
        else:
            eventually(lambda: bool(_lines(service, trace)), 10)
        wire.reset()
    eventually(lambda: any('"outcome":"client_aborted"' in line for line in _lines(service, trace)), 10)


def _lines(service: Refkeep, trace: str) -> list[str]:
    return [line for line in service.log.read_text().splitlines() if trace in line]


# --- streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_tells_what_is_there_and_what_comes(acme: Caller) -> None:
    first = acme.upload(fresh_text())
    with streaming(acme) as stream:
        assert next(stream)["retry"] == "1000"
        event = next_event(stream)
        document = json.loads(event["data"])
        assert (event["id"], event["event"]) == (document["id"], document["type"])
        assert document["data"]["sha256"] == first
        second = acme.upload(fresh_text())
        assert json.loads(next_event(stream)["data"])["data"]["sha256"] == second
    pages = acme.http.get("/events").json()["events"]
    assert pages[0] == document  # the same CloudEvent in both forms


def test_a_stream_is_for_no_cache_and_no_proxy_to_keep(acme: Caller) -> None:
    with acme.http.stream("GET", "/events", headers=SSE) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert (response.headers["cache-control"], response.headers["x-accel-buffering"]) == ("no-store", "no")
    both = {"accept": "application/json, text/event-stream;q=0.5"}
    assert acme.http.get("/events", headers=both).headers["content-type"] == "application/json"


def test_last_event_id_wins_over_after(acme: Caller) -> None:
    names = [acme.upload(fresh_text()) for _ in range(3)]
    ids = [event["id"] for event in acme.events()]
    with acme.http.stream(
        "GET", "/events", params={"after": ids[1]}, headers={**SSE, "last-event-id": ids[0]}
    ) as response:
        told = blocks(response)
        assert json.loads(next_event(told)["data"])["data"]["sha256"] == names[1]


def test_a_stream_that_nothing_fits_moves_the_cursor_of_its_reader_on(acme: Caller) -> None:
    with acme.http.stream("GET", "/events", params={"decision": "purge"}, headers=SSE, timeout=30) as response:
        cursors = (block["id"] for block in blocks(response) if "id" in block)
        before = next(cursors)
        acme.upload(fresh_text())
        eventually(lambda: len(_after(acme, before)) == 1)
        # Other transactions move it, too: some of the next cursors may still be before the event.
        assert any(_after(acme, cursor) == [] for cursor in islice(cursors, 20))


def _after(caller: Caller, cursor: str) -> list[dict[str, object]]:
    """What is told behind a cursor."""
    return list(caller.http.get("/events", params={"after": cursor}).json()["events"])


def test_a_stream_belongs_to_its_workspace(acme: Caller, globex: Caller) -> None:
    with streaming(acme) as stream:
        globex.upload(fresh_text())
        mine = acme.upload(fresh_text())
        assert json.loads(next_event(stream)["data"])["data"]["sha256"] == mine


def test_a_stream_of_a_revoked_key_ends_within_five_seconds(service: Refkeep, acme: Caller) -> None:
    doomed = service.caller("read", workspace=acme.workspace)
    with streaming(doomed) as stream:
        next(stream)
        service.command(key_commands.keys, "revoke", doomed.token.split("_")[1])
        revoked = time.monotonic()
        assert [block for block in stream if "event" in block] == []
        assert time.monotonic() - revoked < 5.5
    problem(doomed.http.get("/events", headers=SSE), 401, "unauthorized")


def test_a_wait_of_a_key_that_was_revoked_meanwhile_tells_nothing(service: Refkeep, acme: Caller) -> None:
    doomed = service.caller("read", workspace=acme.workspace)
    poll = waiting(doomed, after=edge(doomed), wait=8)
    service.command(key_commands.keys, "revoke", doomed.token.split("_")[1])
    problem(poll.result()[0], 401, "unauthorized")


def test_heads_of_what_waits_and_streams_come_at_once(acme: Caller) -> None:
    began = time.monotonic()
    for path, headers in (("/events?wait=25", {}), ("/events", SSE), ("/snapshot", {})):
        response = acme.http.head(path, headers=headers)
        assert (response.status_code, response.content) == (200, b"")
    assert time.monotonic() - began < 5


def test_one_line_tells_of_a_whole_stream(service: Refkeep, acme: Caller) -> None:
    marked = {"x-request-id": f"stream-of-{acme.workspace}"}
    acme.upload(fresh_text())
    with streaming(acme, **marked) as stream:
        next_event(stream)
        acme.upload(fresh_text())
        next_event(stream)

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in service.log.read_text().splitlines() if marked["x-request-id"] in line]

    eventually(lambda: len(lines()) > 0, 10)
    told = [(line["event"], line["operation"], line["outcome"]) for line in lines()]
    assert told[-1] == ("request_completed", "event.stream", "client_aborted")
    assert [line for line in told if line[0] == "request_completed"] == told[-1:]


# --- drain ------------------------------------------------------------------------------------------------------------


def test_a_drain_ends_waits_and_streams_in_order(yard: Yard) -> None:
    with yard.running(DRAIN="3s") as service:
        caller = service.caller("read", "write")
        start = edge(caller)
        poll = waiting(caller, after=start, wait=25)
        with streaming(caller) as stream:
            next(stream)
            began = time.monotonic()
            service.terminate()
            assert [block for block in stream if "event" in block] == []
            assert time.monotonic() - began < 2
        response, came = poll.result()
        assert came - began < 2
        assert (response.status_code, response.json()["events"], response.json()["caught_up"]) == (200, [], True)
        assert service.process.wait(20) == 0


# --- snapshots --------------------------------------------------------------------------------------------------------


def snapshot(caller: Caller) -> tuple[str, list[dict[str, Any]]]:
    response = caller.http.get("/snapshot")
    assert response.headers["content-type"] == "application/x-ndjson"
    first, *rest = [json.loads(line) for line in response.text.splitlines()]
    assert first.keys() == {"cursor"}
    return first["cursor"], rest


def test_a_snapshot_has_every_live_ref_as_lists_have_it(acme: Caller, globex: Caller) -> None:
    names = [acme.upload(fresh_text()) for _ in range(2)]
    globex.put("document/1/file/0", globex.upload(fresh_text()))
    for number in range(3):
        for name in names:
            acme.post(f"document/{number}/file", name)
    acme.delete("document/2/file")
    acme.delete("document/1")
    cursor, refs = snapshot(acme)
    listed = [ref for number in range(3) for ref in acme.refs(f"document/{number}")]
    assert [{k: v for k, v in ref.items() if k != "version"} for ref in refs] == listed
    assert {ref["entity_id"]: ref["version"] for ref in refs} == {"0": 2}
    assert acme.http.get("/events", params={"after": cursor}).json()["events"] == []


def test_an_old_cursor_of_a_log_that_was_dropped_leads_to_a_snapshot(yard: Yard) -> None:
    with yard.running() as service:
        caller = service.caller("read", "write")
        name = caller.upload(fresh_text())
        caller.post("document/7/file", name)
        ids = [event["id"] for event in caller.events()]
        service.command(events_command(), "drop", "--before", ids[-1])
        for headers in ({}, SSE):
            for after in ({}, {"after": ids[0]}):
                gone = problem(caller.http.get("/events", params=after, headers=headers), 410, "cursor-expired")
                assert gone["snapshot"] == "/snapshot"
        assert caller.http.get("/events", params={"after": ids[-1]}).json()["events"] == []
        cursor, [ref] = snapshot(caller)
        assert ref["blob"]["sha256"] == name
        caller.post("document/7/file", name)
        [event] = caller.http.get("/events", params={"after": cursor}).json()["events"]
        assert event["data"]["entity"]["version"] == ref["version"] + 1


def events_command() -> Any:
    from service.commands.events import events  # noqa: PLC0415 - beside its only use

    return events


def test_where_the_feed_is_held_back_the_metric_says_for_how_long(service: Refkeep, anyone: Caller) -> None:
    eventually(lambda: "media_events_lag_seconds" in anyone.http.get("/metrics").text, 20)
    assert asyncio.run(fetch(service.database_url or "", WAITERS))[0]["count"] < 5
