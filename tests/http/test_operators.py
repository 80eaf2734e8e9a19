"""Holds, quotas and reasons over HTTP: what operators do, and what everyone else is told of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from service.commands import keys as key_commands
from tests.parts.caller import Caller, problem, sha256_of
from tests.parts.fresh import fresh_text
from tests.parts.service import Refkeep, command_here, refkeep_here
from tests.parts.wire import bearer, connected, head

NEVER_SENT = "ac" * 32
LEGAL = {"kind": "legal", "reason": "Order 4711"}


@pytest.fixture
def operator(service: Refkeep) -> Caller:
    return service.bearer(service.key(None, "read", "operator"))


def hold(operator: Caller, name: str, **members: Any) -> Any:
    response = operator.http.put(f"/holds/{name}", json={**LEGAL, **members})
    assert response.status_code in {200, 201}, response.text
    return response.json()


def public_cover(acme: Caller) -> tuple[str, str]:
    """Bytes that anyone may read: their hash, and the path of the ref's file."""
    content = fresh_text()
    response = acme.put("document/7/file/0", content)
    assert response.status_code == 201, response.text
    ref = response.json()["ref"]
    return ref["blob"]["sha256"], f"/media/{ref['ref_id']}/file"


def await_status(caller: Caller, path: str, status: int) -> None:
    """Ask until it is answered so: a replica may serve on what it knew, for DESCRIPTOR_TTL (1 s)."""
    deadline = monotonic() + 5
    while caller.http.get(path).status_code != status:
        assert monotonic() < deadline, "waited in vain"


# --- holds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "status", "code"), [("legal", 451, "on-hold"), ("quarantine", 404, "not-found")])
def test_bytes_on_hold_are_not_served_in_any_way(
    acme: Caller, operator: Caller, kind: str, status: int, code: str
) -> None:
    name, file = public_cover(acme)
    etag = acme.http.get(f"/blobs/{name}").headers["etag"]
    assert hold(operator, name, kind=kind)["status"] == status
    await_status(acme, f"/blobs/{name}", status)
    for path in (f"/blobs/{name}", file):
        for headers in ({}, {"range": "bytes=0-1"}, {"range": "bytes=0-0,2-2"}, {"if-none-match": etag}):
            problem(acme.http.get(path, headers=headers), status, code)
        assert acme.http.head(path).status_code == status
    assert operator.http.delete(f"/holds/{name}").status_code == 204
    assert acme.http.get(f"/blobs/{name}").status_code == 200
    assert acme.http.get(file).status_code == 200


def test_the_status_is_the_operators_choice(acme: Caller, operator: Caller) -> None:
    name = acme.upload(fresh_text())
    hold(operator, name, status=404)
    problem(acme.http.get(f"/blobs/{name}"), 404, "not-found")
    hold(operator, name, kind="quarantine", status=451)
    problem(acme.http.get(f"/blobs/{name}"), 451, "on-hold")


def test_a_hold_shows_to_nobody_who_may_not_read_the_bytes(
    acme: Caller, globex: Caller, anyone: Caller, operator: Caller
) -> None:
    name = acme.upload(fresh_text())
    hold(operator, name)
    for stranger in (globex, anyone):
        problem(stranger.http.get(f"/blobs/{name}"), 404, "not-found")


def test_bytes_on_hold_are_not_taken(acme: Caller, globex: Caller, operator: Caller) -> None:
    content = fresh_text()
    name = acme.upload(content)
    hold(operator, name)
    for caller in (acme, globex):
        problem(caller.http.put(f"/blobs/{name}", content=content), 451, "on-hold")
        problem(caller.http.put(f"/blobs/{name}", content=content, headers={"expect": "100-continue"}), 451, "on-hold")
        problem(caller.http.post("/blobs", content=content), 451, "on-hold")
        problem(caller.put("document/9/file/0", content), 451, "on-hold")
    problem(operator.http.put(f"/holdings/{name}", headers={"workspace": globex.workspace}), 451, "on-hold")
    assert globex.http.post("/blobs/missing", json={"sha256": [name]}).json() == {"missing": [name]}
    assert acme.http.post("/blobs/missing", json={"sha256": [name]}).json() == {"missing": []}
    operator.http.delete(f"/holds/{name}")
    assert globex.upload(content) == name


def test_bytes_that_nobody_has_sent_can_be_held(acme: Caller, operator: Caller) -> None:
    content = fresh_text()
    name = sha256_of(content)
    hold(operator, name)
    problem(acme.http.put(f"/blobs/{name}", content=content), 451, "on-hold")


def test_a_hold_is_placed_changed_told_and_lifted(operator: Caller, acme: Caller) -> None:
    name = acme.upload(fresh_text())
    problem(operator.http.get(f"/holds/{name}"), 404, "not-found")
    problem(operator.http.delete(f"/holds/{name}"), 404, "not-found")
    placed = operator.http.put(f"/holds/{name}", json=LEGAL)
    assert placed.status_code == 201
    again = operator.http.put(f"/holds/{name}", json=LEGAL)
    assert (again.status_code, again.json()) == (200, placed.json())
    changed = operator.http.put(f"/holds/{name}", json={**LEGAL, "reason": "Order 4712"})
    assert (changed.status_code, changed.json()["reason"]) == (200, "Order 4712")
    assert operator.http.get(f"/holds/{name}").json() == changed.json()
    assert operator.http.delete(f"/holds/{name}").status_code == 204
    events = [event for event in acme.events() if "hold." in event["type"]]
    assert [(event["type"], event["data"]["decision"]) for event in events] == [
        ("refkeep.hold.placed.v1", "insert"),
        ("refkeep.hold.placed.v1", "update"),
        ("refkeep.hold.lifted.v1", "release"),
    ]
    assert {event["subject"] for event in events} == {f"blobs/{name}"}
    assert "Order" not in str(events), "the reason is the operator's affair"


def test_a_hold_takes_an_idempotency_key(operator: Caller, acme: Caller) -> None:
    name = acme.upload(fresh_text())
    headers = {"idempotency-key": f"hold-{name}"}
    first = operator.http.put(f"/holds/{name}", json=LEGAL, headers=headers)
    second = operator.http.put(f"/holds/{name}", json=LEGAL, headers=headers)
    assert (second.status_code, second.json()) == (201, first.json())
    assert second.headers["idempotent-replayed"] == "true"
    problem(
        operator.http.put(f"/holds/{name}", json={**LEGAL, "reason": "x"}, headers=headers),
        422,
        "idempotency-key-reuse",
    )


@pytest.mark.parametrize(
    "body", [{}, {"kind": "legal"}, {**LEGAL, "kind": "x"}, {**LEGAL, "status": 200}, {**LEGAL, "reason": ""}, [], 7]
)
def test_a_bad_hold_is_a_clear_problem(operator: Caller, body: Any) -> None:
    problem(operator.http.put(f"/holds/{'ab' * 32}", json=body), 400, "bad-request")


@pytest.mark.parametrize(
    "reason", ["  ", "\u2003\t", "Order\n4711", "Order \x00", "\x1b[31mOrder", "Order \x85", "\ud800"]
)
def test_a_hold_has_a_reason_that_can_be_read(operator: Caller, reason: str) -> None:
    body = json.dumps({**LEGAL, "reason": reason}).encode()
    answer = operator.http.put(f"/holds/{NEVER_SENT}", content=body, headers={"content-type": "application/json"})
    problem(answer, 400, "bad-request")
    problem(operator.http.get(f"/holds/{NEVER_SENT}"), 404, "not-found")


def test_a_reason_is_kept_without_the_space_around_it(operator: Caller, acme: Caller) -> None:
    name = acme.upload(fresh_text())
    placed = operator.http.put(f"/holds/{name}", json={**LEGAL, "reason": "  Order 4711, «Zürich»  "})
    assert placed.json()["reason"] == "Order 4711, «Zürich»"


def test_holds_are_for_operators_alone(acme: Caller, anyone: Caller, service: Refkeep) -> None:
    admin = service.caller("read", "write", "admin")
    path = f"/holds/{'ab' * 32}"
    for method in ("GET", "PUT", "DELETE"):
        problem(admin.http.request(method, path, json=LEGAL), 403, "forbidden")
        problem(anyone.http.request(method, path, json=LEGAL), 401, "unauthorized")
    problem(service.bearer(service.key(None, "operator")).http.put("/holds/ABC", json=LEGAL), 400, "bad-hash")


# --- why --------------------------------------------------------------------------------------------------------------


def test_why_tells_every_reason_of_the_own_workspace_and_no_other(acme: Caller, globex: Caller) -> None:
    content = fresh_text()
    name = acme.upload(content)
    globex.upload(content)
    acme.post("document/1/file", name)
    released = acme.put("document/2/file/0", name).json()["ref"]["ref_id"]
    acme.delete("document/2/file/0", {"if-match": acme.version("document/2")})
    answer = acme.http.get(f"/blobs/{name}/why").json()
    assert [reason["kind"] for reason in answer["reasons"]] == ["ref", "trash", "holding"]
    assert {reason["workspace"] for reason in answer["reasons"]} == {acme.workspace}
    live, trash, holding = answer["reasons"]
    assert (live["entity_type"], live["entity_id"], live["role"], live["until"]) == ("document", "1", "file", None)
    assert trash["ref_id"] == released
    assert trash["until"] > holding["until"] > holding["since"]
    assert answer["next_review"] == holding["until"]
    assert answer["complete"] is True
    assert "copies" not in answer


def test_why_tells_operators_of_all_workspaces_and_copies(acme: Caller, globex: Caller, operator: Caller) -> None:
    content = fresh_text()
    name = acme.upload(content)
    globex.upload(content)
    hold(operator, name)
    answer = operator.http.get(f"/blobs/{name}/why").json()
    kinds = [(reason["kind"], reason["workspace"]) for reason in answer["reasons"]]
    both = sorted([acme.workspace, globex.workspace])
    assert kinds == [("hold", None), *(("holding", slug) for slug in both)]
    assert answer["copies"][0]["state"] == "live"
    narrowed = operator.http.get(f"/blobs/{name}/why", headers={"workspace": acme.workspace}).json()
    assert [reason["workspace"] for reason in narrowed["reasons"]] == [None, acme.workspace]
    assert "copies" not in narrowed


def test_why_tells_no_stranger_that_there_is_anything(acme: Caller, globex: Caller, operator: Caller) -> None:
    name = acme.upload(fresh_text())
    hold(operator, name)
    unknown = problem(globex.http.get(f"/blobs/{'ab' * 32}/why"), 404, "not-found")
    theirs = problem(globex.http.get(f"/blobs/{name}/why"), 404, "not-found")
    assert unknown["detail"] == theirs["detail"]
    problem(operator.http.get(f"/blobs/{'cd' * 32}/why"), 404, "not-found")
    problem(globex.http.get("/blobs/x/why"), 404, "not-found")


# --- workspaces -------------------------------------------------------------------------------------------------------


def test_a_workspace_sees_its_quota_and_what_is_charged(acme: Caller, globex: Caller, operator: Caller) -> None:
    content = fresh_text(1000)
    acme.upload(content)
    globex.upload(content)
    globex.upload(fresh_text(500))
    path = f"/workspaces/{globex.workspace}"
    quota = {"max_bytes": 2000, "max_items": None}
    changed = operator.http.put(path, json={"max_bytes": 2000})
    assert (changed.status_code, changed.json()["quota"]) == (200, quota)
    mine = globex.http.get(path).json()
    assert (mine["slug"], mine["quota"]) == (globex.workspace, quota)
    assert mine["used"] == {"logical_bytes": 1500, "items": 2, "physical_bytes": None}
    assert operator.http.get(path).json() == changed.json() | {"used": mine["used"] | {"physical_bytes": 1000}}
    shared = operator.http.get(path, params={"physical": "true"}).json()["used"]
    assert shared == mine["used"] | {"physical_bytes": 1000}
    problem(globex.http.get(path, params={"physical": "true"}), 403, "forbidden")
    for query in ({"physical": "1"}, {"physical": ""}, {"logical": "true"}):
        problem(operator.http.get(path, params=query), 400, "bad-request")
    problem(globex.http.post("/blobs", content=fresh_text(501)), 507, "quota-exceeded")
    assert globex.http.post("/blobs", content=fresh_text(500)).status_code == 201


def test_a_share_of_the_store_is_not_counted_where_nobody_wants_it(
    acme: Caller, operator: Caller, service: Refkeep
) -> None:
    acme.upload(fresh_text())
    path = f"/workspaces/{acme.workspace}"
    changed = operator.http.put(path, json={"max_items": 7})
    quiet = operator.http.get(path, params={"physical": "false"})
    assert quiet.json()["used"]["physical_bytes"] is None
    assert changed.json() == quiet.json()


def test_a_quota_below_the_use_removes_nothing(acme: Caller, operator: Caller) -> None:
    name = acme.upload(fresh_text())
    operator.http.put(f"/workspaces/{acme.workspace}", json={"max_items": 0})
    assert acme.http.get(f"/blobs/{name}").status_code == 200
    problem(acme.http.post("/blobs", content=fresh_text()), 507, "quota-exceeded")


def test_many_bytes_without_room_are_refused_before_they_come(acme: Caller, operator: Caller, service: Refkeep) -> None:
    held, more = fresh_text(1024 * 1024), fresh_text(1024 * 1024)
    acme.upload(held)
    operator.http.put(f"/workspaces/{acme.workspace}", json={"max_bytes": len(held)})
    for content, status in ((more, 507), (held, 200)):
        request = {**bearer(acme.token), "Content-Length": len(content), "Expect": "100-continue"}
        with connected(service.port) as wire:
            wire.send(head("PUT", f"/blobs/{sha256_of(content)}", request))
            answer = wire.response()
        assert answer is not None
        assert answer.status_code == status, "no 100 came before"
    problem(acme.http.put(f"/blobs/{sha256_of(more)}", content=more), 507, "quota-exceeded")
    problem(acme.http.post("/blobs", content=more), 507, "quota-exceeded")
    assert acme.http.post("/blobs", content=held).status_code == 200


def test_an_operator_makes_a_workspace(operator: Caller, service: Refkeep) -> None:
    path = "/workspaces/made-by-hand"
    problem(operator.http.get(path), 404, "not-found")
    made = operator.http.put(path, json={})
    assert made.status_code == 201
    assert made.json()["quota"] == {"max_bytes": None, "max_items": None}
    assert operator.http.put(path, json={}).status_code == 200
    assert service.caller(workspace="made-by-hand").upload(fresh_text())


def test_nobody_sees_another_workspace(acme: Caller, globex: Caller, anyone: Caller) -> None:
    answers = [
        problem(acme.http.get(f"/workspaces/{slug}"), 403, "forbidden")["detail"]
        for slug in (globex.workspace, "there-is-none")
    ]
    assert answers[0] == answers[1]
    problem(acme.http.put(f"/workspaces/{acme.workspace}", json={}), 403, "forbidden")
    problem(anyone.http.get(f"/workspaces/{acme.workspace}"), 401, "unauthorized")


@pytest.mark.parametrize("body", [{"max_bytes": -1}, {"max_bytes": 1.5}, {"max": 1}, {"max_items": "1"}])
def test_a_bad_quota_is_a_clear_problem(operator: Caller, body: Any) -> None:
    problem(operator.http.put("/workspaces/quota-tests", json=body), 400, "bad-request")


def test_a_bad_name_is_a_clear_problem(operator: Caller) -> None:
    problem(operator.http.put("/workspaces/Not_A_Slug", json={}), 400, "bad-request")
    problem(operator.http.get("/workspaces/Not_A_Slug"), 404, "not-found")


@pytest.fixture
def drifted(service: Refkeep, acme: Caller) -> Iterator[str]:
    acme.upload(fresh_text(100))
    service.sql("UPDATE workspaces SET used_bytes = used_bytes + 7 WHERE slug = $1", acme.workspace)
    yield acme.workspace
    service.sql("UPDATE workspaces SET used_bytes = used_bytes - 7 WHERE slug = $1", acme.workspace)


def test_the_drift_check_finds_a_wrong_charge(service: Refkeep, drifted: str) -> None:
    settings = {"DATA_DIR": service.data_dir, "DATABASE_URL": service.database_url}
    done = command_here(key_commands.workspaces, "check", **settings)
    assert done.status == 1
    assert drifted in done.stdout
    assert "107" in done.stdout


def test_the_drift_check_is_content_with_what_the_service_did(service: Refkeep, acme: Caller) -> None:
    acme.upload(fresh_text())
    settings = {"DATA_DIR": service.data_dir, "DATABASE_URL": service.database_url}
    done = refkeep_here("workspaces", "check", "--json", **settings)
    assert (done.status, done.stdout.strip()) == (0, "[]")
