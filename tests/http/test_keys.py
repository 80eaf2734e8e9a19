"""Keys: none, wrong, ended, of another workspace or without the scope; what each call needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
import pytest

from service.commands.keys import keys
from tests.parts.caller import Caller, problem
from tests.parts.service import Refkeep, eventually

COVER = "/refs/book/42/cover"
MEDIA = "/media/01890a5d-ac96-774b-bcce-b302099a8057"
NAME = "ab" * 32

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    scope: str


CALLS = [
    Call("GET", "/events", "read"),
    Call("GET", "/refs/book/42", "read"),
    Call("GET", COVER, "read"),
    Call("GET", "/policies/book/cover", "read"),
    Call("GET", f"/blobs/{NAME}/meta", "read"),
    Call("GET", MEDIA, "read"),
    Call("PUT", f"/blobs/{NAME}", "write"),
    Call("POST", "/blobs", "write"),
    Call("POST", "/blobs/missing", "write"),
    Call("DELETE", f"/blobs/{NAME}", "write"),
    Call("PUT", f"{COVER}/0", "write"),
    Call("POST", COVER, "write"),
    Call("DELETE", f"{COVER}/0", "write"),
    Call("DELETE", COVER, "write"),
    Call("DELETE", "/refs/book/42", "write"),
    Call("PUT", f"{COVER}/order", "write"),
    Call("POST", "/refs/batch", "write"),
    Call("GET", "/media", "read"),
    Call("PATCH", MEDIA, "write"),
    Call("DELETE", MEDIA, "write"),
    Call("POST", f"{MEDIA}/restore", "write"),
    Call("POST", f"{MEDIA}/purge", "admin"),
]
DELIVERIES = [f"/blobs/{NAME}", "/media/01890a5d-ac96-774b-bcce-b302099a8057/file"]


def misspelled(token: str) -> str:
    return token[:-1] + ("a" if token[-1] != "a" else "b")


def call(caller: Caller, each: Call, headers: Mapping[str, str] | None = None) -> httpx.Response:
    return caller.http.request(each.method, each.path, content=b"x" * 10, headers=headers)


@pytest.mark.parametrize("each", CALLS, ids=lambda each: f"{each.method} {each.path[:20]}")
def test_a_call_needs_a_key(acme: Caller, anyone: Caller, each: Call) -> None:
    problem(call(anyone, each), 401, "unauthorized")
    stranger, cut = "rk_abcdefghijkl_" + "A" * 38, acme.token[:-1]
    wrong = [stranger, cut, misspelled(acme.token), f"{acme.token}x", f"x {acme.token}", acme.token.upper(), "rk_"]
    for value in ["", "Bearer", "Basic YTpi", acme.token, *(f"Bearer {token}" for token in wrong)]:
        response = call(anyone, each, {"authorization": value})
        problem(response, 401, "unauthorized")
        assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", DELIVERIES)
def test_a_bad_key_is_told_so_where_none_is_needed(acme: Caller, anyone: Caller, path: str) -> None:
    bad = {"authorization": f"Bearer {misspelled(acme.token)}"}
    problem(anyone.http.get(path), 404, "not-found")
    problem(anyone.http.get(path, headers=bad), 401, "unauthorized")
    assert anyone.http.head(path, headers=bad).status_code == 401


@pytest.mark.parametrize("each", CALLS, ids=lambda each: f"{each.method} {each.path[:20]}")
def test_a_key_of_another_workspace_or_scope_is_forbidden(
    acme: Caller, globex: Caller, service: Refkeep, each: Call
) -> None:
    problem(call(acme, each, {"workspace": globex.workspace}), 403, "forbidden")
    problem(call(acme, each, {"workspace": "no-such-workspace"}), 403, "forbidden")
    problem(call(acme, each, {"workspace": "Not/A Workspace"}), 403, "forbidden")
    other = service.caller("write" if each.scope == "read" else "read", workspace=acme.workspace)
    problem(call(other, each), 403, "forbidden")


def test_a_revoked_key_is_dead_within_5_seconds(service: Refkeep, anyone: Caller) -> None:
    caller = service.caller("read")
    assert caller.http.get("/events").status_code == 200
    service.command(keys, "revoke", caller.token.split("_")[1])
    eventually(lambda: caller.http.get("/events").status_code == 401, 5)
    problem(caller.http.get("/events"), 401, "unauthorized")
    problem(caller.http.get(f"/blobs/{NAME}"), 401, "unauthorized")
