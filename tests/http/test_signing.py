"""Signing over HTTP, with the service as shipped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
from uuid_utils.compat import uuid7

from tests.parts.caller import Caller, problem
from tests.parts.fresh import fresh_text
from tests.parts.service import Refkeep


def private_file(caller: Caller) -> tuple[str, str]:
    """A private ref: its id, and its bytes."""
    content = fresh_text()
    response = caller.post("document/7/file", content, visibility="private")
    assert response.status_code == 201, response.text
    return response.json()["ref"]["ref_id"], content.decode()


def fetch(caller: Caller, url: str, method: str = "GET") -> httpx.Response:
    """Ask without a key."""
    return httpx.request(method, caller.http.base_url.join(url))


def test_a_signed_address_shows_private_bytes_to_anyone(acme: Caller) -> None:
    ref_id, content = private_file(acme)
    assert fetch(acme, f"/media/{ref_id}/file").status_code == 404
    signed = acme.http.post(f"/media/{ref_id}/sign", json={"expires_in": 60}).json()
    assert signed["ref_id"] == ref_id
    response = fetch(acme, signed["url"])
    assert (response.status_code, response.text) == (200, content)
    assert response.headers["cache-control"].startswith("private, max-age=")
    assert fetch(acme, signed["url"], "HEAD").status_code == 200
    for place in range(signed["url"].index("?") + 1, len(signed["url"])):
        changed = signed["url"][:place] + ("A" if signed["url"][place] != "A" else "B") + signed["url"][place + 1 :]
        assert fetch(acme, changed).status_code == 404, changed


def test_the_end_is_a_full_five_minutes_so_that_the_address_is_stable(acme: Caller) -> None:
    ref_id, _ = private_file(acme)
    before = datetime.now(UTC)
    signed = acme.http.post(f"/media/{ref_id}/sign", json={"expires_in": 600}).json()
    end = datetime.fromisoformat(signed["expires_at"])
    assert (end.minute % 5, end.second, end.microsecond) == (0, 0, 0)
    assert timedelta(seconds=600) <= end - before <= timedelta(seconds=900, minutes=1)
    if datetime.now(UTC) < end - timedelta(seconds=600):
        assert acme.http.post(f"/media/{ref_id}/sign", json={"expires_in": 600}).json() == signed


def test_many_are_signed_at_once_in_the_order_asked(acme: Caller) -> None:
    ids = [private_file(acme)[0] for _ in range(3)]
    asked = [ids[2], str(uuid7()), ids[0], ids[2]]
    items = acme.http.post("/media/sign", json={"ref_ids": asked}).json()["items"]
    assert [item["ref_id"] for item in items] == [ids[2], ids[0]]
    assert {fetch(acme, item["url"]).status_code for item in items} == {200}


def test_another_workspaces_ref_is_not_there(acme: Caller, globex: Caller) -> None:
    ref_id, _ = private_file(acme)
    theirs = globex.http.post(f"/media/{ref_id}/sign")
    unknown = globex.http.post(f"/media/{uuid7()}/sign")
    problem(theirs, 404, "not-found")
    assert theirs.json()["detail"] == unknown.json()["detail"]
    assert globex.http.post("/media/sign", json={"ref_ids": [ref_id]}).json() == {"items": []}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("{}/sign", {"expires_in": 0}),
        ("{}/sign", {"expires_in": 7 * 24 * 3600 + 1}),
        ("{}/sign", {"expires_in": "60"}),
        ("{}/sign", {"expires": 60}),
        ("sign", {}),
        ("sign", {"ref_ids": []}),
        ("sign", {"ref_ids": [str(UUID(int=number)) for number in range(101)]}),
        ("sign", {"ref_ids": ["7"]}),
    ],
)
def test_what_makes_no_sense_is_refused(acme: Caller, path: str, body: object) -> None:
    ref_id, _ = private_file(acme)
    problem(acme.http.post(f"/media/{path.format(ref_id)}", json=body), 400, "bad-request")


def test_reading_is_enough_and_needed(acme: Caller) -> None:
    ref_id, _ = private_file(acme)
    assert fetch(acme, f"/media/{ref_id}/sign", "POST").status_code == 401


def test_without_a_key_to_sign_with_nothing_is_signed(strict: Refkeep) -> None:
    caller = strict.caller("read", "write")
    ref_id = caller.put("album/7/note/0", fresh_text()).json()["ref"]["ref_id"]
    problem(caller.http.post(f"/media/{ref_id}/sign"), 503, "signing-disabled")
    problem(caller.http.post("/media/sign", json={"ref_ids": [ref_id]}), 503, "signing-disabled")
