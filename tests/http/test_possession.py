"""Knowing a hash grants nothing: what another workspace holds looks exactly like what nobody holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from uuid_utils import uuid7

from tests.parts.caller import Caller, problem, sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.service import Refkeep
from tests.parts.wire import bearer, connected, head

DIFFERENT_ANYWAY = {"date", "x-request-id", "server-timing"}
CONDITIONS: dict[str, dict[str, str]] = {
    "plainly": {},
    "if-none-match": {"if-none-match": '"{name}"'},
    "if-none-match-weak": {"if-none-match": 'W/"{name}", "other"'},
    "if-none-match-any": {"if-none-match": "*"},
    "if-match": {"if-match": '"{name}"'},
    "if-match-any": {"if-match": "*"},
    "if-match-other": {"if-match": '"other"'},
    "if-modified-since": {"if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT"},
    "if-unmodified-since": {"if-unmodified-since": "Sat, 01 Jan 2000 00:00:00 GMT"},
    "range": {"range": "bytes=0-0"},
    "ranges": {"range": "bytes=0-0,5-9"},
    "range-beyond": {"range": "bytes=99999999-"},
    "if-range": {"range": "bytes=0-0", "if-range": '"{name}"'},
    "origin": {"origin": "https://example.org"},
}


MADE_UP = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"  # a ref
    r"|[0-9]-[0-9a-f]+-[0-9a-f]+"  # an event
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z"
)
"""What every answer has of its own, whatever it is about."""


@dataclass(frozen=True)
class Thing:
    """Bytes that globex keeps to itself, or that do not exist: their hash, a ref, an entity."""

    content: bytes
    ref_id: str
    entity_id: str
    workspace: str

    @property
    def name(self) -> str:
        return sha256_of(self.content)

    def seen(self, response: httpx.Response, who: Caller | None = None) -> tuple[int, dict[str, str], str]:
        """What a caller can tell from an answer, without the names that it asked with."""
        headers = {name: self._blur(value) for name, value in response.headers.items() if name not in DIFFERENT_ANYWAY}
        if response.is_success:
            headers.pop("content-length", None)  # the ids of events grow
        text = response.text if who is None else response.text.replace(who.workspace, "mine")
        return response.status_code, headers, self._blur(text)

    def told(self, caller: Caller) -> str:
        """What the caller's events tell, without what they have of their own."""
        events = caller.events()
        for event in events:
            event["data"].update(actor="…", traceparent="…")
        return self._blur(json.dumps(events)).replace(caller.workspace, "mine")

    def _blur(self, text: str) -> str:
        for name in (self.name, self.ref_id, self.entity_id, self.workspace):
            text = text.replace(name, "…")
        return MADE_UP.sub("…", text)


@pytest.fixture
def theirs(globex: Caller) -> Thing:
    content = fresh_text()
    entity_id = "shared-id-1"
    ref = globex.post(f"document/{entity_id}/file", content).json()["ref"]
    assert ref["visibility"] == "private"
    return Thing(content, ref["ref_id"], entity_id, globex.workspace)


@pytest.fixture
def nobodys(globex: Caller) -> Thing:
    return Thing(fresh_text(), str(uuid7()), "shared-id-2", "x" * len(globex.workspace))


@pytest.fixture
def stranger(service: Refkeep) -> Caller:
    """A caller who may do everything in a workspace of its own."""
    return service.caller("read", "write", "admin")


def batch(**operation: Any) -> Any:
    return lambda who, it: who.http.post(
        "/refs/batch",
        json={"operations": [{name: text.format(it=it) for name, text in operation.items()}]},
    )


def form(it: Thing, **members: str) -> dict[str, Any]:
    return {"data": members, "files": {"file": ("a.txt", it.content)}}


Ask = Callable[[Caller, Thing], httpx.Response]
SLOT = {"entity_type": "document", "entity_id": "1", "role": "file"}
ASKS: dict[str, dict[str, Ask]] = {
    "put_blob": {
        "its bytes": lambda who, it: who.http.put(f"/blobs/{it.name}", content=it.content),
        "other bytes": lambda who, it: who.http.put(f"/blobs/{it.name}", content=b"other bytes"),
        "another type": lambda who, it: who.http.put(
            f"/blobs/{it.name}", content=it.content, headers={"content-type": "image/png"}
        ),
    },
    "post_blob": {
        "raw": lambda who, it: who.http.post("/blobs", content=it.content),
        "form": lambda who, it: who.http.post("/blobs", **form(it)),
        "form of another name": lambda who, it: who.http.post("/blobs", **form(it, sha256="0" * 64)),
    },
    "post_missing": {"of it": lambda who, it: who.http.post("/blobs/missing", json={"sha256": [it.name]})},
    "delete_blob": {"give up": lambda who, it: who.http.delete(f"/blobs/{it.name}")},
    "get_blob_meta": {"of it": lambda who, it: who.http.get(f"/blobs/{it.name}/meta")},
    "get_blob_why": {
        "of it": lambda who, it: who.http.get(f"/blobs/{it.name}/why"),
        "by name of its workspace": lambda who, it: who.http.get(
            f"/blobs/{it.name}/why", headers={"workspace": it.workspace}
        ),
    },
    "put_holding": {"grant": lambda who, it: who.http.put(f"/holdings/{it.name}")},
    "get_hold": {"of it": lambda who, it: who.http.get(f"/holds/{it.name}")},
    "put_hold": {
        "of it": lambda who, it: who.http.put(f"/holds/{it.name}", json={"kind": "legal", "reason": "Order 4711"})
    },
    "delete_hold": {"of it": lambda who, it: who.http.delete(f"/holds/{it.name}")},
    "get_workspace": {"of it": lambda who, it: who.http.get(f"/workspaces/{it.workspace}")},
    "put_workspace": {"of it": lambda who, it: who.http.put(f"/workspaces/{it.workspace}", json={})},
    "put_ref": {
        "hash": lambda who, it: who.put("document/1/file/0", it.name),
        "hash, unknown role": lambda who, it: who.put("never/1/file/0", it.name),
        "hash, too far": lambda who, it: who.put("document/1/file/9", it.name),
        "hash, for the world": lambda who, it: who.put("document/1/file/0", it.name, visibility="public"),
        "bytes": lambda who, it: who.put("document/1/file/0", it.content),
        "bytes, not allowed": lambda who, it: who.put("book/1/cover/0", it.content),
        "in their entity": lambda who, it: who.put(f"document/{it.entity_id}/file/0", it.content),
        "in their entity, if empty": lambda who, it: who.put(
            f"document/{it.entity_id}/file/0", it.content, {"if-none-match": "*"}
        ),
    },
    "post_ref": {
        "hash": lambda who, it: who.post("document/1/file", it.name),
        "bytes": lambda who, it: who.post("document/1/file", it.content),
        "form": lambda who, it: who.http.post("/refs/document/1/file", **form(it)),
        "form of another name": lambda who, it: who.http.post("/refs/document/1/file", **form(it, sha256="0" * 64)),
    },
    "put_order": {
        "with it": lambda who, it: who.http.put(
            "/refs/document/1/file/order", json={"ref_ids": [it.ref_id]}, headers={"if-match": '"0"'}
        ),
        "of their role": lambda who, it: who.http.put(
            f"/refs/document/{it.entity_id}/file/order", json={"ref_ids": [it.ref_id]}, headers={"if-match": '"1"'}
        ),
    },
    "post_batch": {
        "append": batch(op="append", sha256="{it.name}", **SLOT),
        "release": batch(op="release", ref_id="{it.ref_id}"),
        "restore": batch(op="restore", ref_id="{it.ref_id}"),
        "patch": batch(op="patch", ref_id="{it.ref_id}", alt="mine"),
        "release of their entity": batch(op="release", entity_type="document", entity_id="{it.entity_id}"),
    },
    "delete_ref": {
        "their version": lambda who, it: who.delete(f"document/{it.entity_id}/file/0", {"if-match": '"1"'}),
        "no version": lambda who, it: who.delete(f"document/{it.entity_id}/file/0"),
    },
    "delete_role_refs": {"theirs": lambda who, it: who.delete(f"document/{it.entity_id}/file")},
    "delete_entity_refs": {"theirs": lambda who, it: who.delete(f"document/{it.entity_id}")},
    "get_entity_refs": {"theirs": lambda who, it: who.http.get(f"/refs/document/{it.entity_id}")},
    "get_role_refs": {"theirs": lambda who, it: who.http.get(f"/refs/document/{it.entity_id}/file")},
    "get_media": {"theirs": lambda who, it: who.http.get(f"/media/{it.ref_id}")},
    "get_media_list": {
        "by hash": lambda who, it: who.http.get("/media", params={"sha256": it.name, "state": "all"}),
        "by id": lambda who, it: who.http.get("/media", params={"ref_id": it.ref_id}),
        "by entity": lambda who, it: who.http.get("/media", params={"entity_id": it.entity_id}),
    },
    "patch_media": {"theirs": lambda who, it: who.http.patch(f"/media/{it.ref_id}", json={"alt": "mine"})},
    "delete_media": {"theirs": lambda who, it: who.http.delete(f"/media/{it.ref_id}")},
    "restore_media": {"theirs": lambda who, it: who.http.post(f"/media/{it.ref_id}/restore")},
    "purge_media": {"theirs": lambda who, it: who.http.post(f"/media/{it.ref_id}/purge")},
    "sign_media": {"theirs": lambda who, it: who.http.post(f"/media/{it.ref_id}/sign")},
    "sign_media_list": {"theirs": lambda who, it: who.http.post("/media/sign", json={"ref_ids": [it.ref_id]})},
    "get_snapshot": {"own": lambda who, _: who.http.get("/snapshot")},
    "get_events": {
        "of hash": lambda who, it: who.http.get("/events", params={"sha256": it.name}),
        "of ref": lambda who, it: who.http.get("/events", params={"ref_id": it.ref_id}),
        "of entity": lambda who, it: who.http.get("/events", params={"entity_id": it.entity_id}),
    },
    "other methods": {
        "preflight": lambda who, it: who.http.options(f"/blobs/{it.name}"),
        "patch": lambda who, it: who.http.patch(f"/blobs/{it.name}"),
    },
}
BYTES = {"get_blob", "head_blob", "get_media_file", "head_media_file"}
BYTES |= {"get_blob_preset", "head_blob_preset", "get_media_preset", "head_media_preset"}
ABOUT_NOTHING = {"get_policy", "get_livez", "get_readyz", "get_metrics", "get_openapi", "get_docs", "get_docs_asset"}


def test_every_call_of_the_document_is_asked() -> None:
    document = yaml.safe_load((Path(__file__).parents[2] / "openapi.yaml").read_text())
    calls = [call for item in document["paths"].values() for call in item.values()]
    operations = {call["operationId"] for call in calls if "operationId" in call}
    assert operations == (ASKS.keys() - {"other methods"}) | BYTES | ABOUT_NOTHING


@pytest.mark.parametrize(("operation", "variant"), [(name, each) for name, asks in ASKS.items() for each in asks])
def test_a_call_tells_no_difference(
    stranger: Caller, theirs: Thing, nobodys: Thing, operation: str, variant: str, service: Refkeep
) -> None:
    ask, other = ASKS[operation][variant], service.caller("read", "write", "admin")
    assert theirs.seen(ask(stranger, theirs), stranger) == nobodys.seen(ask(other, nobodys), other)
    assert theirs.told(stranger) == nobodys.told(other)


def test_a_workspace_without_room_is_told_the_same(
    service: Refkeep, stranger: Caller, theirs: Thing, nobodys: Thing
) -> None:
    operator = service.bearer(service.key(None, "operator"))
    assert operator.http.put(f"/workspaces/{stranger.workspace}", json={"max_bytes": 10}).status_code == 200
    for ask in (
        ASKS["put_blob"]["its bytes"],
        ASKS["post_blob"]["raw"],
        ASKS["post_blob"]["form"],
        ASKS["put_ref"]["bytes"],
    ):
        about_theirs, about_nothing = theirs.seen(ask(stranger, theirs)), nobodys.seen(ask(stranger, nobodys))
        assert about_theirs == about_nothing
        assert about_theirs[0] == 507


def test_an_operator_grants_what_there_is_and_says_no_more(service: Refkeep, theirs: Thing, nobodys: Thing) -> None:
    operator = service.bearer(service.key(None, "operator"))
    taker = service.caller("read", "write")
    named = {"workspace": taker.workspace}
    problem(operator.http.put(f"/holdings/{nobodys.name}", headers=named), 404, "not-found")
    assert operator.http.put(f"/holdings/{theirs.name}", headers=named).json()["decision"] == "insert"
    assert taker.put("document/1/file/0", theirs.name).status_code == 201
    [granted, attached] = taker.events()
    assert theirs.workspace not in str(granted) + str(attached)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("caller", ["acme", "anyone"])
def test_bytes_tell_no_difference(
    request: pytest.FixtureRequest, caller: str, theirs: Thing, nobodys: Thing, method: str, condition: str
) -> None:
    who: Caller = request.getfixturevalue(caller)
    for path in ("/blobs/{name}", "/media/{ref_id}/file", "/blobs/{name}/thumb", "/media/{ref_id}/file/thumb.webp"):
        answers = []
        for thing in (theirs, nobodys):
            headers = {name: value.format(name=thing.name) for name, value in CONDITIONS[condition].items()}
            target = path.format(name=thing.name, ref_id=thing.ref_id)
            answers.append(thing.seen(who.http.request(method, target, headers=headers)))
        assert answers[0] == answers[1]
        assert answers[0][0] == 404
        assert answers[0][1]["cache-control"] == "no-store"


def test_an_upload_of_what_another_workspace_holds_is_an_insert(acme: Caller, globex: Caller) -> None:
    held, unheld = fresh_text(), fresh_text()
    globex.upload(held)
    answers = [acme.http.put(f"/blobs/{sha256_of(content)}", content=content) for content in (held, unheld)]
    assert [answer.status_code for answer in answers] == [201, 201]
    first, second = (answer.json() for answer in answers)
    assert (first["decision"], second["decision"]) == ("insert", "insert")
    assert first["blob"] == {**second["blob"], "sha256": first["blob"]["sha256"]}
    created = [acme.http.get(f"/blobs/{sha256_of(content)}/meta").json()["created_at"] for content in (held, unheld)]
    assert created == sorted(created), "the age of another workspace's upload shows"


def test_bytes_are_asked_for_though_another_workspace_holds_them(
    acme: Caller, globex: Caller, service: Refkeep
) -> None:
    content = fresh_text()
    name = globex.upload(content)
    request = {**bearer(acme.token), "Content-Length": len(content), "Expect": "100-continue"}
    with connected(service.port) as wire:
        wire.send(head("PUT", f"/blobs/{name}", request))
        asked = wire.response()
        assert asked is not None
        assert asked.status_code == 100
        wire.send(content)
        answer = wire.response()
    assert answer is not None
    assert (answer.status_code, answer.json()["decision"]) == (201, "insert")


def test_giving_up_bytes_leaves_the_other_workspace_its_own(acme: Caller, globex: Caller) -> None:
    content = fresh_text()
    name = acme.upload(content)
    globex.upload(content)
    assert acme.http.delete(f"/blobs/{name}").status_code == 204
    problem(acme.http.get(f"/blobs/{name}"), 404, "not-found")
    problem(acme.http.delete(f"/blobs/{name}"), 404, "not-found")
    assert globex.http.get(f"/blobs/{name}").content == content


def test_meta_tells_of_this_workspaces_refs_alone(acme: Caller, globex: Caller) -> None:
    content = fresh_jpeg()
    globex.put("book/1/cover/0", content)
    mine = acme.put("book/2/cover/0", content).json()["ref"]
    meta = acme.http.get(f"/blobs/{sha256_of(content)}/meta").json()
    assert [ref["ref_id"] for ref in meta["refs"]] == [mine["ref_id"]]


def test_public_bytes_are_everyones_but_nothing_else_is(acme: Caller, globex: Caller, anyone: Caller) -> None:
    content = fresh_jpeg()
    ref = globex.put("book/1/cover/0", content).json()["ref"]
    name = ref["blob"]["sha256"]

    for caller in (acme, globex, anyone):
        by_hash, by_ref = caller.http.get(f"/blobs/{name}"), caller.http.get(f"/media/{ref['ref_id']}/file")
        assert (by_hash.content, by_ref.content) == (content, content)
        assert by_hash.headers["cache-control"] == "public, max-age=31536000, immutable, no-transform"
        assert by_ref.headers["cache-control"].startswith("max-age=300")
        assert caller.http.get(f"/blobs/{name}", headers={"if-none-match": f'"{name}"'}).status_code == 304

    problem(acme.http.get(f"/media/{ref['ref_id']}"), 404, "not-found")
    problem(acme.http.get(f"/blobs/{name}/meta"), 404, "not-found")
    problem(acme.put("book/1/cover/0", name), 422, "blob-not-held")
    assert acme.http.post("/blobs/missing", json={"sha256": [name]}).json() == {"missing": [name]}
    assert acme.http.put(f"/blobs/{name}", content=content).json()["decision"] == "insert"


def test_private_bytes_need_a_key_of_the_workspace_that_may_read(
    acme: Caller, globex: Caller, reader: Caller, anyone: Caller, service: Refkeep
) -> None:
    content = fresh_jpeg()
    ref = acme.put("book/1/cover/0", content, visibility="private").json()["ref"]
    writer = service.caller("write", workspace=acme.workspace)

    for path in (ref["links"]["blob"], ref["links"]["file"]):
        for caller in (acme, reader):
            response = caller.http.get(path)
            assert (response.content, response.headers["cache-control"]) == (content, "private, no-store")
        for stranger in (globex, anyone, writer):
            for condition in ({}, {"if-none-match": "*"}, {"if-none-match": f'"{sha256_of(content)}"'}):
                problem(stranger.http.get(path, headers=condition), 404, "not-found")


@pytest.mark.parametrize("visibility", ["public", "private"])
def test_trashed_bytes_are_the_workspaces_own(acme: Caller, globex: Caller, anyone: Caller, visibility: str) -> None:
    content = fresh_jpeg()
    ref = acme.put("book/1/cover/0", content, visibility=visibility).json()["ref"]
    acme.delete("book/1/cover/0")

    for path in (ref["links"]["file"], ref["links"]["blob"]):
        response = acme.http.get(path)
        assert (response.content, response.headers["cache-control"]) == (content, "private, no-store")
        for stranger in (globex, anyone):
            for condition in ({}, {"if-none-match": f'"{sha256_of(content)}"'}):
                problem(stranger.http.get(path, headers=condition), 404, "not-found")


def test_a_replaced_cover_is_no_longer_shown_to_the_world(acme: Caller, anyone: Caller) -> None:
    old = acme.put("book/1/cover/0", fresh_jpeg()).json()["ref"]
    new = acme.put("book/1/cover/0", fresh_jpeg()).json()["ref"]
    assert anyone.http.get(new["links"]["file"]).status_code == 200
    problem(anyone.http.get(old["links"]["file"]), 404, "not-found")
    problem(anyone.http.get(old["links"]["blob"]), 404, "not-found")


def test_bytes_stay_public_while_any_public_ref_shows_them(acme: Caller, globex: Caller, anyone: Caller) -> None:
    content = fresh_jpeg()
    mine = acme.put("book/1/cover/0", content).json()["ref"]
    globex.put("book/1/cover/0", content)
    acme.delete("book/1/cover/0")
    assert anyone.http.get(f"/blobs/{sha256_of(content)}").status_code == 200
    problem(anyone.http.get(mine["links"]["file"]), 404, "not-found")


def test_each_workspace_has_entities_of_its_own(acme: Caller, globex: Caller) -> None:
    acme.put("book/1/cover/0", fresh_jpeg())
    assert globex.refs("book/1") == []
    globex.put("book/1/cover/0", fresh_jpeg())
    globex.delete("book/1/cover/0")
    assert len(acme.refs("book/1")) == 1
    assert {event["data"]["workspace"] for event in acme.events()} == {acme.workspace}


def test_an_unbound_key_names_its_workspace(acme: Caller, globex: Caller, service: Refkeep) -> None:
    anywhere = service.bearer(service.key(None, "read", "write"))
    content = fresh_text()
    name = acme.upload(content)

    problem(anywhere.http.get("/events"), 400, "workspace-required")
    problem(anywhere.http.get("/events", headers={"workspace": "nosuch"}), 403, "forbidden")
    assert anywhere.http.get(f"/blobs/{name}", headers={"workspace": acme.workspace}).content == content
    problem(anywhere.http.get(f"/blobs/{name}", headers={"workspace": globex.workspace}), 404, "not-found")
    problem(anywhere.http.get(f"/blobs/{name}"), 404, "not-found")
