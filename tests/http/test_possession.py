"""Knowing a hash grants nothing: what another workspace holds looks exactly like what nobody holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
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


@dataclass(frozen=True)
class Thing:
    """Bytes that globex keeps to itself, or that do not exist: their hash, their text, a ref, an entity."""

    name: str
    ref_id: str
    entity_id: str

    def seen(self, response: httpx.Response) -> tuple[int, dict[str, str], str]:
        """What a caller can tell from an answer, without the names that it asked with."""
        headers = {name: self._blur(value) for name, value in response.headers.items() if name not in DIFFERENT_ANYWAY}
        return response.status_code, headers, self._blur(response.text)

    def _blur(self, text: str) -> str:
        return text.replace(self.name, "…").replace(self.ref_id, "…").replace(self.entity_id, "…")


@pytest.fixture
def theirs(globex: Caller) -> Thing:
    content = fresh_text()
    entity_id = "shared-id-1"
    ref = globex.post(f"document/{entity_id}/file", content).json()["ref"]
    assert ref["visibility"] == "private"
    return Thing(sha256_of(content), ref["ref_id"], entity_id)


@pytest.fixture
def nobodys() -> Thing:
    return Thing(sha256_of(fresh_text()), str(uuid7()), "shared-id-2")


Ask = Callable[[Caller, Thing], httpx.Response]
WRITES: dict[str, Ask] = {
    "attach": lambda who, it: who.put("document/1/file/0", it.name),
    "append": lambda who, it: who.post("document/1/file", it.name),
    "missing": lambda who, it: who.http.post("/blobs/missing", json={"sha256": [it.name]}),
    "give up": lambda who, it: who.http.delete(f"/blobs/{it.name}"),
    "wrong bytes": lambda who, it: who.http.put(f"/blobs/{it.name}", content=b"other bytes"),
    "release": lambda who, it: who.delete(f"document/{it.entity_id}/file/0", {"if-match": '"1"'}),
    "release stale": lambda who, it: who.delete(f"document/{it.entity_id}/file/0"),
    "preflight": lambda who, it: who.http.options(f"/blobs/{it.name}"),
    "other method": lambda who, it: who.http.patch(f"/blobs/{it.name}"),
}
READS: dict[str, Ask] = {
    "meta": lambda who, it: who.http.get(f"/blobs/{it.name}/meta"),
    "ref": lambda who, it: who.http.get(f"/media/{it.ref_id}"),
    "refs": lambda who, it: who.http.get(f"/refs/document/{it.entity_id}"),
    "role": lambda who, it: who.http.get(f"/refs/document/{it.entity_id}/file"),
    "events of hash": lambda who, it: who.http.get("/events", params={"sha256": it.name}),
    "events of ref": lambda who, it: who.http.get("/events", params={"ref_id": it.ref_id}),
    "events of entity": lambda who, it: who.http.get("/events", params={"entity_id": it.entity_id}),
}


def without_cursor(answer: tuple[int, dict[str, str], str]) -> tuple[int, dict[str, str], Any]:
    """A page of events without `next`, which tells how far the whole log has come."""
    status, headers, text = answer
    document = httpx.Response(200, text=text).json()
    headers = {name: value for name, value in headers.items() if name != "content-length"}
    return status, headers, {name: value for name, value in document.items() if name != "next"}


@pytest.mark.parametrize("ask", [*WRITES, *READS])
def test_a_call_tells_no_difference(acme: Caller, theirs: Thing, nobodys: Thing, ask: str) -> None:
    call = {**WRITES, **READS}[ask]
    about_theirs, about_nothing = theirs.seen(call(acme, theirs)), nobodys.seen(call(acme, nobodys))
    if ask.startswith("events"):
        assert without_cursor(about_theirs) == without_cursor(about_nothing)
        assert without_cursor(about_theirs)[2]["events"] == []
    else:
        assert about_theirs == about_nothing


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("caller", ["acme", "anyone"])
def test_bytes_tell_no_difference(
    request: pytest.FixtureRequest, caller: str, theirs: Thing, nobodys: Thing, method: str, condition: str
) -> None:
    who: Caller = request.getfixturevalue(caller)
    for path in ("/blobs/{name}", "/media/{ref_id}/file"):
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
        assert by_ref.headers["cache-control"].startswith("public, max-age=300")
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
