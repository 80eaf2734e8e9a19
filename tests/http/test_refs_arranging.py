"""Whole roles, whole entities and batches over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.parts.caller import Caller, problem
from tests.parts.fresh import fresh_jpeg, fresh_text

COVER, FILES = "book/42/cover", "document/7/file"


def append(caller: Caller, count: int, role: str = FILES) -> list[str]:
    """New refs in a list; their ids."""
    answers = [caller.post(role, fresh_text()) for _ in range(count)]
    assert {answer.status_code for answer in answers} == {201}
    return [str(answer.json()["ref"]["ref_id"]) for answer in answers]


def order(caller: Caller, role: str = FILES) -> list[str]:
    """The ids of a list, whose positions must be dense."""
    refs = caller.refs(role)
    assert [ref["position"] for ref in refs] == list(range(len(refs)))
    return [str(ref["ref_id"]) for ref in refs]


def reorder(caller: Caller, ref_ids: Any, version: str | None = None, role: str = FILES) -> httpx.Response:
    headers = {} if version is None else {"if-match": version}
    return caller.http.put(f"/refs/{role}/order", json={"ref_ids": ref_ids}, headers=headers)


def batch(caller: Caller, *operations: Any, key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return caller.http.post("/refs/batch", json={"operations": operations}, headers=headers)


def decisions(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [result["decision"] for result in response.json()["results"]]


# --- order ------------------------------------------------------------------------------------------------------------


def test_a_list_is_put_in_another_order(acme: Caller) -> None:
    first, second, third = append(acme, 3)
    response = reorder(acme, [third, first, second], '"3"')
    assert (response.status_code, response.headers["etag"]) == (200, '"4"')
    result = response.json()
    assert (result["decision"], result["ref"], result["refs"]) == ("reorder", None, acme.refs(FILES))
    assert order(acme) == [third, first, second]
    [event] = acme.events(decision="reorder")
    assert event["id"] == result["event"]
    assert event["type"] == "refkeep.ref.reordered.v1"
    assert (event["data"]["ref_ids"], event["data"]["role"]) == ([third, first, second], "file")
    same = reorder(acme, [third, first, second], '"4"')
    assert (same.json()["decision"], same.json()["event"], same.headers["etag"]) == ("noop", None, '"4"')


def test_an_order_needs_a_version_and_a_permutation(acme: Caller) -> None:
    first, second = append(acme, 2)
    assert problem(reorder(acme, [second, first]), 428, "precondition-required")["version"] == 2
    problem(reorder(acme, [second, first], "*"), 428, "precondition-required")
    assert problem(reorder(acme, [second, first], '"1"'), 412, "version-conflict")["version"] == 2
    stranger = str(uuid4())
    told = problem(reorder(acme, [second, second, stranger], '"2"'), 422, "not-a-permutation")
    assert (told["missing"], told["surplus"]) == ([first], [second, stranger])
    for bad in ("", "x", [1], [None], ["7"], {"a": 1}):
        problem(reorder(acme, bad, '"2"'), 400, "bad-request")
    problem(acme.http.put(f"/refs/{FILES}/order", json={}, headers={"if-match": '"2"'}), 400, "bad-request")
    assert order(acme) == [first, second]


# --- release of all ---------------------------------------------------------------------------------------------------


def test_a_role_and_an_entity_are_released_and_again_nothing_happens(acme: Caller) -> None:
    files = append(acme, 3)
    gone = acme.http.delete(f"/refs/{FILES}")
    assert (gone.status_code, gone.headers["etag"]) == (200, '"6"')
    result = gone.json()
    assert (result["decision"], [ref["ref_id"] for ref in result["refs"]]) == ("release", files)
    assert {ref["state"] for ref in result["refs"]} == {"trashed"}
    assert acme.events()[-1]["id"] == result["event"]
    assert acme.refs("document/7") == []
    for path in (FILES, "document/7", "document/8", "never/was"):
        again = acme.http.delete(f"/refs/{path}", headers={"if-match": '"999"'})
        assert (again.status_code, again.json()["decision"], again.json()["refs"]) == (200, "noop", [])
    for ref_id in files:
        assert acme.http.post(f"/media/{ref_id}/restore").status_code == 200
    assert order(acme) == files
    problem(acme.http.delete("/refs/document/7", headers={"if-match": '"1"'}), 412, "version-conflict")
    assert acme.http.delete("/refs/document/7", headers={"if-match": '"9"'}).json()["decision"] == "release"


# --- batch ------------------------------------------------------------------------------------------------------------


def test_a_batch_does_all_that_it_says_in_its_order(acme: Caller) -> None:
    text, picture = acme.upload(fresh_text()), acme.upload(fresh_jpeg())
    old = append(acme, 3)
    document, book = {"entity_type": "document", "entity_id": "7"}, {"entity_type": "book", "entity_id": "42"}
    response = batch(
        acme,
        {
            "op": "put",
            **book,
            "role": "cover",
            "position": 0,
            "sha256": picture,
            "alt": "A cover",
            "if_none_match": "*",
        },
        {"op": "append", **document, "role": "file", "sha256": text, "filename": "a.txt"},
        {"op": "order", **document, "role": "file", "ref_ids": old[::-1], "if_match": 3},
    )
    problem(response, 422, "not-a-permutation")
    assert acme.refs("book/42") == []
    response = batch(
        acme,
        {
            "op": "put",
            **book,
            "role": "cover",
            "position": 0,
            "sha256": picture,
            "alt": "A cover",
            "if_none_match": "*",
        },
        {"op": "order", **document, "role": "file", "ref_ids": old[::-1], "if_match": 3},
        {"op": "release", **document, "role": "file", "position": 0, "if_match": '"3"'},
        {"op": "append", **document, "role": "file", "sha256": text, "position": 0, "if_match": "3"},
        {"op": "release", "ref_id": old[0]},
        {"op": "restore", "ref_id": old[2]},
        {"op": "patch", "ref_id": old[1], "owner": "me", "alt": None},
        {"op": "release", **book},
        {"op": "release", **book, "role": "cover"},
    )
    assert decisions(response) == [
        *("insert", "reorder", "release", "insert", "release", "restore", "update", "release", "noop")
    ]
    results = response.json()["results"]
    assert [result["entity"]["version"] for result in results] == [1, 4, 5, 6, 7, 8, 9, 2, 2]
    appended = results[3]["ref"]["ref_id"]
    assert order(acme) == [old[2], appended, old[1]]
    assert acme.http.get(f"/media/{old[1]}").json()["owner"] == "me"
    ids = [result["event"] for result in results if result["event"] is not None]
    assert [event["id"] for event in acme.events()][-8:] == ids


def test_the_first_problem_of_a_batch_has_its_index_and_nothing_has_changed(acme: Caller, globex: Caller) -> None:
    [ref_id] = append(acme, 1)
    [foreign] = append(globex, 1)
    sha256 = acme.upload(fresh_text())
    fine = {"op": "append", "entity_type": "document", "entity_id": "7", "role": "file", "sha256": sha256}
    slot = {"entity_type": "document", "entity_id": "7", "role": "file"}
    before = acme.refs("document/7")
    for bad, status, code in (
        ({**fine, "sha256": "0" * 64}, 422, "blob-not-held"),
        ({**fine, "role": "nothing"}, 422, "policy-unknown"),
        ({**fine, "sha256": "ABC"}, 400, "bad-hash"),
        ({**fine, "role": "Nothing"}, 400, "bad-request"),
        ({**fine, "entity_id": "/"}, 400, "bad-request"),
        ({**fine, "if_match": 99}, 412, "version-conflict"),
        ({**fine, "if_match": "a"}, 400, "bad-request"),
        ({**fine, "position": 0}, 428, "precondition-required"),
        ({**fine, "colour": "red"}, 400, "bad-request"),
        ({**fine, "op": "add"}, 400, "bad-request"),
        ({"op": "release", **slot, "position": 0}, 428, "precondition-required"),
        ({"op": "release", **slot, "ref_id": ref_id}, 400, "bad-request"),
        ({"op": "release", "entity_type": "document"}, 400, "bad-request"),
        ({"op": "release", "entity_type": "document", "entity_id": "7", "position": 0}, 400, "bad-request"),
        ({"op": "release"}, 400, "bad-request"),
        ({"op": "release", "ref_id": foreign}, 404, "not-found"),
        ({"op": "restore", "ref_id": str(uuid4())}, 404, "not-found"),
        ({"op": "restore", "ref_id": ref_id, "on_conflict": "x"}, 400, "bad-request"),
        ({"op": "patch", "ref_id": ref_id, "alt": "\u0000"}, 400, "bad-request"),
        ({"op": "order", **slot, "ref_ids": [ref_id]}, 428, "precondition-required"),
        ("release", 400, "bad-request"),
    ):
        told = problem(batch(acme, fine, fine, bad, fine), status, code)
        assert told["index"] == 2, told
        assert acme.refs("document/7") == before
    recorded = acme.events(decision="reject")
    assert {event["data"]["code"] for event in recorded} == {"blob-not-held", "policy-unknown"}
    assert {event["data"]["entity"]["version"] for event in recorded} == {1}


@pytest.mark.parametrize("operations", [[], None, {}, "x", [{}] * 101])
def test_a_batch_has_1_to_100_operations(acme: Caller, operations: Any) -> None:
    problem(acme.http.post("/refs/batch", json={"operations": operations}), 400, "bad-request")


def test_a_hundred_operations_are_one_batch_and_answered_once(acme: Caller) -> None:
    sha256 = acme.upload(fresh_text())
    each = {"op": "append", "entity_type": "document", "entity_id": "7", "role": "file", "sha256": sha256}
    first = batch(acme, *[each] * 100, key="all-of-them")
    assert decisions(first) == ["insert"] * 100
    again = batch(acme, *[each] * 100, key="all-of-them")
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    problem(batch(acme, each, key="all-of-them"), 422, "idempotency-key-reuse")
    assert len(order(acme)) == 100
