"""Fifty requests at the same moment: the one right outcome, each time."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import httpx
import pytest

from tests.parts.caller import Caller, problem, sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.service import Refkeep, eventually
from tests.parts.thorough import times
from tests.parts.together import together

MANY, ROUNDS = 50, times(20, 6)
ONE_BLOB = Counter(objects=1, blobs=1, holdings=1, files=1)
MIB = 1024 * 1024


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def decisions(answers: list[httpx.Response]) -> Counter[str]:
    return Counter(answer.json()["decision"] for answer in answers)


@pytest.mark.parametrize("size", [200, 100_000])
def test_bytes_that_are_sent_fifty_times_at_once_are_stored_once(service: Refkeep, acme: Caller, size: int) -> None:
    for _ in range(ROUNDS // 2):
        before = service.contents()
        content = fresh_text(size)
        name = sha256_of(content)
        answers = together(acme, [("PUT", f"/blobs/{name}", {"content": content})] * MANY)
        assert statuses(answers) == {201: 1, 200: MANY - 1}
        assert decisions(answers) == {"insert": 1, "duplicate": MANY - 1}
        events = acme.events(sha256=name)
        assert [event["data"]["decision"] for event in events] == ["insert"] + ["duplicate"] * (MANY - 1)
        assert {answer.json()["event"] for answer in answers} == {event["id"] for event in events}
        eventually(lambda: service.added_since(before) == ONE_BLOB, 5)  # noqa: B023 - called here and now
        assert acme.http.get(f"/blobs/{name}").content == content


def test_one_slot_that_fifty_fill_at_once_shows_one_and_keeps_the_others(acme: Caller) -> None:
    names = [acme.upload(fresh_jpeg()) for _ in range(MANY)]
    answers = together(acme, [("PUT", "/refs/book/1/cover/0", {"json": {"sha256": name}}) for name in names])
    assert decisions(answers) == {"insert": 1, "replace": MANY - 1}
    assert sorted(answer.json()["entity"]["version"] for answer in answers) == [*range(1, MANY + 1)]

    by_version = sorted((answer.json() for answer in answers), key=lambda told: told["entity"]["version"])
    [live] = acme.refs("book/1/cover")
    assert live == by_version[-1]["ref"]
    for earlier, later in pairwise(by_version):
        assert later["replaced"]["ref_id"] == earlier["ref"]["ref_id"]
    trash = acme.http.get("/media", params={"state": "trashed", "entity_id": "1", "limit": "500"}).json()["items"]
    assert {ref["ref_id"] for ref in trash} == {told["ref"]["ref_id"] for told in by_version[:-1]}

    events = acme.events(entity_type="book", entity_id="1")
    assert [event["data"]["entity"]["version"] for event in events] == [*range(1, MANY + 1)]
    assert [event["id"] for event in events] == [told["event"] for told in by_version]


def test_one_slot_that_fifty_fill_with_the_same_is_filled_once(acme: Caller) -> None:
    name = acme.upload(fresh_jpeg())
    answers = together(acme, [("PUT", "/refs/book/1/cover/0", {"json": {"sha256": name}})] * MANY)
    assert decisions(answers) == {"insert": 1, "noop": MANY - 1}
    assert {answer.json()["ref"]["ref_id"] for answer in answers} == {acme.refs("book/1")[0]["ref_id"]}
    assert len(acme.events(entity_type="book", entity_id="1")) == 1


def test_one_place_of_a_list_is_filled_by_whoever_comes_first(acme: Caller) -> None:
    names = [acme.upload(fresh_text()) for _ in range(MANY)]
    answers = together(acme, [("PUT", "/refs/document/1/file/0", {"json": {"sha256": name}}) for name in names])
    assert statuses(answers) == {201: 1, 428: MANY - 1}
    for answer in answers:
        if answer.status_code == 428:
            problem(answer, 428, "precondition-required")
    [only] = acme.refs("document/1")
    assert acme.version("document/1") == '"1"'
    assert {answer.json()["ref"]["ref_id"] for answer in answers if answer.is_success} == {only["ref_id"]}


def test_fifty_appends_at_once_all_find_a_place(acme: Caller) -> None:
    names = [acme.upload(fresh_text()) for _ in range(MANY)]
    answers = together(acme, [("POST", "/refs/document/1/file", {"json": {"sha256": name}}) for name in names])
    assert decisions(answers) == {"insert": MANY}
    refs = acme.refs("document/1")
    assert [ref["position"] for ref in refs] == [*range(MANY)]
    assert {ref["blob"]["sha256"] for ref in refs} == set(names)
    events = acme.events(entity_type="document", entity_id="1")
    assert [event["data"]["entity"]["version"] for event in events] == [*range(1, MANY + 1)]


@pytest.mark.parametrize("limit", ["max_bytes", "max_items"])
def test_of_fifty_uploads_for_the_last_room_exactly_one_fits(service: Refkeep, limit: str) -> None:
    operator = service.bearer(service.key(None, "operator"))
    acme = service.caller("read", "write")
    first = fresh_text(3 * MIB)
    quota = {"max_bytes": len(first) + MIB} if limit == "max_bytes" else {"max_items": 2}
    assert operator.http.put(f"/workspaces/{acme.workspace}", json=quota).status_code == 200
    acme.upload(first)

    before, contents = service.contents(), [fresh_text(600 * 1024) for _ in range(MANY)]
    puts = [("PUT", f"/blobs/{sha256_of(content)}", {"content": content}) for content in contents]
    answers = together(acme, puts)
    assert statuses(answers) == {201: 1, 507: MANY - 1}
    for answer in answers:
        if answer.status_code == 507:
            problem(answer, 507, "quota-exceeded")

    used = {"logical_bytes": len(first) + 600 * 1024, "items": 2}
    told = operator.http.get(f"/workspaces/{acme.workspace}").json()["used"]
    assert told == {**used, "physical_bytes": used["logical_bytes"]}
    assert len(acme.events()) == 2
    eventually(lambda: service.added_since(before) == ONE_BLOB, 10)
    missing = acme.http.post("/blobs/missing", json={"sha256": [sha256_of(content) for content in contents]}).json()
    assert len(missing["missing"]) == MANY - 1
