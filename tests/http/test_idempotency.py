"""Every write takes effect once under an Idempotency-Key: each call of openapi.yaml, said twice and all at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from tests.parts.caller import Caller, problem, sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.service import Refkeep
from tests.parts.together import together

SLOT, ROLE = "document/7/file/0", "document/7/file"
TWINS = 8
NOT_ONCE = {"post_missing", "sign_media", "sign_media_list"}
"""They answer how things are now and write nothing but leases, which does no harm twice: a stored answer would lie."""


@dataclass(frozen=True)
class Request:
    """`events` are how many its effect puts on record."""

    method: str
    path: str
    more: dict[str, Any] = field(default_factory=dict)
    events: int = 1

    def with_header(self, name: str, value: str) -> Request:
        """The same with one more header."""
        headers = {**self.more.get("headers", {}), name: value}
        return Request(self.method, self.path, {**self.more, "headers": headers}, self.events)


Prepare = Callable[[Caller], Request]
"""Makes what a request needs, and the request; called again, it makes another one."""


def held(caller: Caller) -> str:
    return caller.upload(fresh_text())


def attached(caller: Caller, role: str = ROLE) -> str:
    return str(caller.post(role, held(caller)).json()["ref"]["ref_id"])


def trashed(caller: Caller) -> str:
    ref_id = attached(caller)
    assert caller.http.delete(f"/media/{ref_id}").status_code == 200
    return ref_id


def versioned(caller: Caller, request: Request) -> Request:
    return request.with_header("if-match", caller.version("document/7"))


def putting_a_ref(caller: Caller) -> Request:
    return Request("PUT", f"/refs/document/{uuid4()}/file/0", {"json": {"sha256": held(caller)}})


def ordering(caller: Caller) -> Request:
    ref_ids = [attached(caller), attached(caller)]
    listed = [ref["ref_id"] for ref in caller.refs(ROLE)]
    order = [*reversed(ref_ids), *(ref_id for ref_id in listed if ref_id not in ref_ids)]
    return versioned(caller, Request("PUT", f"/refs/{ROLE}/order", {"json": {"ref_ids": order}}))


def batching(caller: Caller) -> Request:
    append = {"op": "append", "entity_type": "document", "entity_id": "7", "role": "file", "sha256": held(caller)}
    release = {"op": "release", "ref_id": attached(caller)}
    return Request("POST", "/refs/batch", {"json": {"operations": [append, release]}}, events=2)


def releasing_a_position(caller: Caller) -> Request:
    attached(caller)
    return versioned(caller, Request("DELETE", f"/refs/{SLOT}"))


def releasing_all(caller: Caller, path: str) -> Request:
    entity = f"document/{uuid4()}"
    attached(caller, f"{entity}/file")
    return Request("DELETE", path.format(entity=entity))


def revising(caller: Caller) -> Request:
    return Request("PATCH", f"/media/{attached(caller)}", {"json": {"alt": f"words {uuid4()}"}})


def putting_a_blob(_: Caller) -> Request:
    content = fresh_text()
    return Request("PUT", f"/blobs/{sha256_of(content)}", {"content": content})


WRITES: dict[str, Prepare] = {
    "put_blob": putting_a_blob,
    "post_blob": lambda _: Request("POST", "/blobs", {"content": fresh_text()}),
    "delete_blob": lambda caller: Request("DELETE", f"/blobs/{held(caller)}"),
    "put_ref": putting_a_ref,
    "post_ref": lambda caller: Request("POST", f"/refs/{ROLE}", {"json": {"sha256": held(caller)}}),
    "put_order": ordering,
    "delete_ref": releasing_a_position,
    "delete_role_refs": lambda caller: releasing_all(caller, "/refs/{entity}/file"),
    "delete_entity_refs": lambda caller: releasing_all(caller, "/refs/{entity}"),
    "post_batch": batching,
    "patch_media": revising,
    "delete_media": lambda caller: Request("DELETE", f"/media/{attached(caller)}"),
    "restore_media": lambda caller: Request("POST", f"/media/{trashed(caller)}/restore"),
    "purge_media": lambda caller: Request("POST", f"/media/{trashed(caller)}/purge"),
}
WITH_BYTES: dict[str, Prepare] = {
    "put_ref, raw": lambda _: Request(
        "PUT", f"/refs/book/{uuid4()}/cover/0", {"content": fresh_jpeg(), "params": {"alt": "a"}}, events=2
    ),
    "post_ref, raw": lambda _: Request("POST", f"/refs/{ROLE}", {"content": fresh_text()}, events=2),
    "post_ref, form": lambda _: Request(
        "POST", f"/refs/{ROLE}", {"files": {"file": ("a.txt", fresh_text())}, "data": {"alt": "a"}}, events=2
    ),
    "post_blob, form": lambda _: Request("POST", "/blobs", {"files": {"file": ("a.txt", fresh_text())}}),
}


def holding_bytes(caller: Caller) -> Request:
    hold = {"json": {"kind": "legal", "reason": "Order 4711"}}
    return Request("PUT", f"/holds/{held(caller)}", hold)


def lifting(caller: Caller) -> Request:
    request = holding_bytes(caller)
    assert caller.http.put(request.path, **request.more).status_code == 201
    return Request("DELETE", request.path)


def granting(caller: Caller, service: Refkeep) -> Request:
    return Request("PUT", f"/holdings/{held(service.caller('write'))}")


OPERATIONS: dict[str, Callable[[Caller, Refkeep], Request]] = {
    "put_holding": granting,
    "put_hold": lambda caller, _: holding_bytes(caller),
    "delete_hold": lambda caller, _: lifting(caller),
    "put_workspace": lambda _, __: Request("PUT", f"/workspaces/w-{uuid4()}", {"json": {"max_bytes": 7}}, events=0),
}


@pytest.fixture
def admin(service: Refkeep) -> Caller:
    """Of a new workspace."""
    return service.caller("read", "write", "admin")


@pytest.fixture
def operator(service: Refkeep) -> Caller:
    """Of all, in a new workspace."""
    workspace = service.workspace()
    caller = service.bearer(service.key(None, "read", "write", "admin", "operator"), workspace)
    caller.http.headers["workspace"] = workspace
    return caller


@pytest.fixture(params=[*WRITES, *WITH_BYTES, *OPERATIONS])
def write(request: pytest.FixtureRequest) -> tuple[Caller, Callable[[], Request]]:
    """Who may do it, and how to make such a request."""
    name, service = request.param, request.getfixturevalue("service")
    if prepare := {**WRITES, **WITH_BYTES}.get(name):
        admin: Caller = request.getfixturevalue("admin")
        return admin, lambda: prepare(admin)
    operator: Caller = request.getfixturevalue("operator")
    return operator, lambda: OPERATIONS[name](operator, service)


def keyed(request: Request, key: str) -> tuple[str, str, dict[str, Any]]:
    request = request.with_header("idempotency-key", key)
    return request.method, request.path, request.more


def test_the_tables_have_every_write_of_the_document() -> None:
    document = yaml.load((Path(__file__).parents[2] / "openapi.yaml").read_text(), yaml.CSafeLoader)
    calls = [(method, call) for item in document["paths"].values() for method, call in item.items()]
    writes = {call["operationId"]: call for method, call in calls if method in {"put", "post", "patch", "delete"}}
    assert writes.keys() - NOT_ONCE == {*WRITES, *OPERATIONS}
    key = {"$ref": "#/components/parameters/IdempotencyKey"}
    assert {name for name, call in writes.items() if key not in call.get("parameters", [])} == NOT_ONCE


def test_a_write_that_is_repeated_has_one_effect_and_one_answer(write: tuple[Caller, Callable[[], Request]]) -> None:
    caller, prepare = write
    request = prepare()
    before, call = len(caller.events()), keyed(request, str(uuid4()))
    first, second = [caller.http.request(method, path, **more) for method, path, more in (call, call)]
    assert first.is_success, first.text
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert (second.status_code, second.content) == (first.status_code, first.content)
    for name in ("content-type", "location", "etag", "cache-control"):
        assert second.headers.get(name) == first.headers.get(name)
    assert len(caller.events()) == before + request.events


def test_a_key_of_another_request_is_refused(write: tuple[Caller, Callable[[], Request]]) -> None:
    caller, prepare = write
    key = str(uuid4())
    method, path, more = keyed(prepare(), key)
    assert caller.http.request(method, path, **more).is_success
    method, path, more = keyed(prepare(), key)
    before = len(caller.events())
    problem(caller.http.request(method, path, **more), 422, "idempotency-key-reuse")
    assert len(caller.events()) == before
    del more["headers"]["idempotency-key"]
    assert caller.http.request(method, path, **more).is_success, "the refused request had no effect"


def test_twins_at_the_same_moment_have_one_effect(write: tuple[Caller, Callable[[], Request]]) -> None:
    caller, prepare = write
    request = prepare()
    before, (method, path, more) = len(caller.events()), keyed(request, str(uuid4()))
    if "workspace" in caller.http.headers:
        more["headers"]["workspace"] = caller.http.headers["workspace"]
    answers = together(caller, [(method, path, more)] * TWINS)
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (answers[0].status_code, answers[0].content)
    }
    assert answers[0].is_success, answers[0].text
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == TWINS - 1
    # Bytes that arrive again before the first answer renew their lease, which is on record as for any upload.
    effects = [event for event in caller.events() if event["data"]["decision"] != "duplicate"]
    assert len(effects) == before + request.events


def test_a_question_is_answered_anew_though_it_has_a_key(admin: Caller) -> None:
    content, key = fresh_text(), {"idempotency-key": "missing?"}
    asked = {"sha256": [sha256_of(content)]}
    assert admin.http.post("/blobs/missing", json=asked, headers=key).json() == {"missing": asked["sha256"]}
    admin.upload(content)
    assert admin.http.post("/blobs/missing", json=asked, headers=key).json() == {"missing": []}


REFUSALS: dict[str, tuple[Callable[[Caller], Request], Callable[[Caller, Request], object], int]] = {
    "attach": (
        lambda _: Request("PUT", f"/refs/{SLOT}", {"json": {"sha256": sha256_of(b"a first")}}),
        lambda caller, _: caller.upload(b"a first"),
        422,
    ),
    "batch": (
        lambda _: Request(
            "POST",
            "/refs/batch",
            {
                "json": {
                    "operations": [
                        {"op": "append", "entity_type": "document", "entity_id": "7", "role": "file",
                         "sha256": sha256_of(b"a second")}
                    ]
                }
            },
        ),
        lambda caller, _: caller.upload(b"a second"),
        422,
    ),
    "give up": (
        lambda _: Request("DELETE", f"/blobs/{sha256_of(b'a third')}"),
        lambda caller, _: caller.upload(b"a third"),
        404,
    ),
    "purge": (
        lambda caller: Request("POST", f"/media/{attached(caller)}/purge"),
        lambda caller, request: caller.http.delete(request.path.removesuffix("/purge")),
        409,
    ),
}  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_is_not_stored_and_is_judged_anew(admin: Caller, refusal: str) -> None:
    prepare, make_right, status = REFUSALS[refusal]
    request = prepare(admin)
    method, path, more = keyed(request, "again")
    assert admin.http.request(method, path, **more).status_code == status
    assert admin.http.request(method, path, **more).status_code == status
    make_right(admin, request)
    answer = admin.http.request(method, path, **more)
    assert answer.is_success, answer.text
    assert "idempotent-replayed" not in answer.headers
