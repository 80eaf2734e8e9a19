"""Refs by their ids over HTTP: the recycle bin, its ways back and its end."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.parts.caller import Caller, problem
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.service import Refkeep

COVER, FILES = "book/42/cover", "document/7/file"


@pytest.fixture
def admin(service: Refkeep, acme: Caller) -> Caller:
    """A caller who may purge in acme's workspace."""
    return service.caller("read", "write", "admin", workspace=acme.workspace)


def append(caller: Caller, count: int = 1, role: str = FILES) -> list[dict[str, Any]]:
    """New refs in a list."""
    answers = [caller.post(role, fresh_text()) for _ in range(count)]
    assert {answer.status_code for answer in answers} == {201}
    return [answer.json()["ref"] for answer in answers]


def ids(refs: list[dict[str, Any]]) -> list[str]:
    return [str(ref["ref_id"]) for ref in refs]


def media(caller: Caller, **query: Any) -> list[str]:
    """The ids of a list that is one page."""
    response = caller.http.get("/media", params=query)
    assert response.status_code == 200, response.text
    assert response.json()["next"] is None
    return ids(response.json()["items"])


def ask(
    caller: Caller, ref: dict[str, Any], what: str, headers: dict[str, str] | None = None, **body: Any
) -> httpx.Response:
    """POST of a ref: `restore` or `purge`."""
    path = f"/media/{ref['ref_id']}/{what}"
    return caller.http.post(path, headers=headers, json=body) if body else caller.http.post(path, headers=headers)


def test_a_ref_goes_to_the_trash_and_comes_back(acme: Caller) -> None:
    first, second, third = append(acme, 3)
    released = acme.http.delete(second["links"]["self"])
    assert (released.status_code, released.json()["decision"], released.headers["etag"]) == (200, "release", '"4"')
    trashed = released.json()["ref"]
    assert (trashed["state"], trashed["position"]) == ("trashed", None)
    assert trashed["trashed_at"] < trashed["purge_after"]
    again = acme.http.delete(second["links"]["self"])
    assert (again.status_code, again.json()["decision"], again.json()["ref"]) == (200, "noop", trashed)
    assert ids(acme.refs(FILES)) == ids([first, third])
    assert acme.http.get(second["links"]["self"]).json() == trashed
    assert acme.http.get(second["links"]["file"]).status_code == 200

    restored = ask(acme, second, "restore")
    assert (restored.status_code, restored.json()["decision"], restored.json()["ref"]) == (200, "restore", second)
    assert acme.refs(FILES) == [first, second, third]
    back = ask(acme, second, "restore")
    assert (back.status_code, back.json()["decision"], back.json()["event"]) == (200, "noop", None)
    types = [event["type"].split(".")[2] for event in acme.events(entity_type="document", entity_id="7")]
    assert types == ["inserted", "inserted", "inserted", "released", "restored"]


def test_a_taken_single_slot_is_given_back_only_on_demand(acme: Caller) -> None:
    old = acme.put(f"{COVER}/0", fresh_jpeg()).json()["ref"]
    new = acme.put(f"{COVER}/0", fresh_jpeg()).json()["ref"]
    taken = problem(ask(acme, old, "restore"), 409, "slot-taken")
    assert taken["ref_id"] == new["ref_id"]
    swapped = ask(acme, old, "restore", on_conflict="replace").json()
    assert (swapped["decision"], swapped["ref"]) == ("restore", old)
    assert (swapped["replaced"]["ref_id"], swapped["replaced"]["state"]) == (new["ref_id"], "trashed")
    assert acme.refs(COVER) == [old]
    problem(acme.http.post(f"/media/{new['ref_id']}/restore", json={"on_conflict": "push"}), 400, "bad-request")


def test_a_purged_ref_is_gone(admin: Caller, acme: Caller, globex: Caller, anyone: Caller) -> None:
    [ref] = append(acme)
    problem(ask(acme, ref, "purge"), 403, "forbidden")
    problem(ask(admin, ref, "purge"), 409, "not-trashed")
    acme.http.delete(ref["links"]["self"])
    problem(ask(globex, ref, "restore"), 404, "not-found")
    purged = ask(admin, ref, "purge")
    assert (purged.status_code, purged.json()["decision"], purged.json()["ref"]["state"]) == (200, "purge", "trashed")
    for path in (ref["links"]["self"], ref["links"]["file"]):
        problem(acme.http.get(path), 410, "gone")
        problem(globex.http.get(path), 404, "not-found")
    problem(anyone.http.get(ref["links"]["file"]), 404, "not-found")
    problem(acme.http.delete(ref["links"]["self"]), 410, "gone")
    problem(ask(acme, ref, "restore"), 410, "gone")
    problem(ask(admin, ref, "purge"), 410, "gone")
    problem(acme.http.patch(ref["links"]["self"], json={"alt": "B"}), 410, "gone")
    assert media(acme, state="all") == []
    assert [event["data"]["decision"] for event in acme.events(ref_id=ref["ref_id"])] == ["insert", "release", "purge"]


def test_a_patch_changes_what_it_names_and_null_clears(acme: Caller) -> None:
    ref = acme.put(f"{COVER}/0", fresh_jpeg(), filename="a.jpg", alt="A", owner="me", visibility="private").json()[
        "ref"
    ]
    path = ref["links"]["self"]
    patched = acme.http.patch(path, json={"filename": "dir/b.jpg", "alt": None, "visibility": None})
    assert (patched.status_code, patched.json()["decision"], patched.headers["etag"]) == (200, "update", '"2"')
    expected = {**ref, "filename": "b.jpg", "alt": None, "visibility": "public"}
    assert patched.json()["ref"] == acme.http.get(path).json() == expected
    again = acme.http.patch(path, json={"filename": "b.jpg"})
    assert (again.json()["decision"], again.json()["event"]) == ("noop", None)
    assert acme.http.patch(path, json={}).json()["decision"] == "noop"
    problem(acme.http.patch(path, json={"alt": "C"}, headers={"if-match": '"1"'}), 412, "version-conflict")
    assert acme.http.patch(path, json={"alt": "C"}, headers={"if-match": '"2"'}).status_code == 200
    malformed: list[Any] = [{"alt": 7}, {"alt": "\u0007"}, {"colour": "red"}, {"visibility": "secret"}, []]
    for bad in [*malformed, {"filename": "x" * 256}]:
        problem(acme.http.patch(path, json=bad), 400, "bad-request")
    acme.http.delete(path)
    problem(acme.http.patch(path, json={"alt": "D"}), 409, "in-trash")


def test_a_patch_is_bound_by_the_policy(acme: Caller) -> None:
    [ref] = append(acme)
    refused = acme.http.patch(ref["links"]["self"], json={"visibility": "public"})
    if refused.status_code == 200:  # where the packaged policy allows it
        assert refused.json()["ref"]["visibility"] == "public"
    else:
        problem(refused, 422, "visibility-not-allowed")


def test_the_list_is_the_recycle_bin_and_more(acme: Caller) -> None:
    files, [cover] = append(acme, 4), [acme.put(f"{COVER}/0", fresh_jpeg()).json()["ref"]]
    for ref in (files[2], files[0]):
        acme.http.delete(ref["links"]["self"])
    live = ids([cover, files[3], files[1]])
    trashed = ids([files[0], files[2]])
    assert media(acme) == media(acme, state="live") == live
    assert media(acme, state="trashed") == trashed
    assert media(acme, state="all") == ids([cover, *files[::-1]])
    assert media(acme, entity_type="book") == media(acme, media_type="image/*") == ids([cover])
    assert media(acme, entity_type="document", entity_id="7", role="file", state="trashed") == trashed
    assert media(acme, sha256=files[0]["blob"]["sha256"], state="all") == ids([files[0]])
    assert media(acme, media_type="TEXT/plain") == ids([files[3], files[1]])
    assert media(acme, ref_id=ids([files[0], cover])) == ids([cover, files[0]])
    assert media(acme, ref_id=",".join(ids([files[0], cover])), state="live") == ids([cover])
    assert media(acme, ref_id=str(uuid4())) == []
    [item] = acme.http.get("/media", params={"ref_id": cover["ref_id"]}).json()["items"]
    assert item == cover


def test_pages_of_the_list_lead_through_all_of_it(acme: Caller, globex: Caller) -> None:
    refs = append(acme, 7)
    for ref in refs[:5]:
        acme.http.delete(ref["links"]["self"])
    for state, expected in (("trashed", refs[4::-1]), ("all", refs[::-1]), ("live", refs[:4:-1])):
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = acme.http.get("/media", params={"state": state, "limit": "2", **cursor}).json()
            found += page["items"]
            if page["next"] is None:
                break
            assert len(page["items"]) == 2
            cursor = {"cursor": page["next"]}
        assert ids(found) == ids(expected)
    assert media(globex, state="all") == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("state=gone", "bad-request"),
        ("limit=0", "bad-request"),
        ("limit=501", "bad-request"),
        ("ref_id=7", "bad-request"),
        ("ref_id=", "bad-request"),
        ("ref_id={0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b}", "bad-request"),
        ("ref_id=urn:uuid:0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b", "bad-request"),
        ("ref_id=0199a1b27c3d7e4f8a5b6c7d8e9f0a1b", "bad-request"),
        ("ref_id=0199A1B2-7C3D-7E4F-8A5B-6C7D8E9F0A1B", "bad-request"),
        ("sha256=abc", "bad-hash"),
        ("cursor=abc", "bad-cursor"),
        ("cursor=", "bad-cursor"),
        ("role=Cover", "bad-request"),
        ("entity_type=B", "bad-request"),
        ("entity_id=%00", "bad-request"),
        ("media_type=image", "bad-request"),
        ("media_type=%25/*", "bad-request"),
        ("state=live&state=all", "bad-request"),
        ("colour=red", "bad-request"),
        ("state=trashed&cursor=0199a1b27c3d7e4f8a5b6c7d8e9f0a1b", "bad-cursor"),
        ("&".join(f"ref_id={uuid4()}" for _ in range(101)), "bad-request"),
        ("ref_id=" + ",".join(str(uuid4()) for _ in range(101)), "bad-request"),
    ],
)
def test_a_list_that_makes_no_sense_is_a_bad_request(acme: Caller, query: str, code: str) -> None:
    problem(acme.http.get(f"/media?{query}"), 400, code)


def test_a_hundred_ids_are_asked_for_at_once(acme: Caller) -> None:
    [ref] = append(acme)
    asked = [str(uuid4()) for _ in range(99)] + ids([ref])
    assert media(acme, ref_id=asked) == media(acme, ref_id=",".join(asked)) == ids([ref])


@pytest.mark.parametrize("wrong", ["7", "01890A5D-AC96-774B-BCCE-B302099A8057", "0a2b8f3e-6a0d-4d8f-9f0a-5f0c6f6b7f11"])
def test_an_id_that_is_none_of_ours_is_not_found(admin: Caller, wrong: str) -> None:
    for response in (
        admin.http.get(f"/media/{wrong}"),
        admin.http.patch(f"/media/{wrong}", json={"alt": "B"}),
        admin.http.delete(f"/media/{wrong}"),
        admin.http.post(f"/media/{wrong}/restore"),
        admin.http.post(f"/media/{wrong}/purge"),
    ):
        problem(response, 404, "not-found")


def test_what_was_done_is_answered_again_also_when_the_ref_is_gone(admin: Caller) -> None:
    [ref] = append(admin)
    path = ref["links"]["self"]
    calls = [
        ("PATCH", path, {"alt": "B"}),
        ("DELETE", path, None),
        ("POST", f"{path}/restore", {"on_conflict": "replace"}),
        ("DELETE", "/refs/document/7/file", None),
        ("POST", f"{path}/purge", None),
    ]

    def send(method: str, target: str, body: Any, key: str) -> httpx.Response:
        return admin.http.request(method, target, json=body, headers={"idempotency-key": key})

    first = [send(*call, f"key-{number}") for number, call in enumerate(calls)]
    events = admin.events()
    assert {answer.status_code for answer in first} == {200}
    for number, call in enumerate(calls):
        again = send(*call, f"key-{number}")
        assert (again.status_code, again.content) == (200, first[number].content)
        assert again.headers["idempotent-replayed"] == "true"
        problem(send("DELETE", "/refs/document/8", None, f"key-{number}"), 422, "idempotency-key-reuse")
    problem(send("PATCH", path, {"alt": None}, "key-0"), 422, "idempotency-key-reuse")
    assert admin.events() == events
