"""Changes that make no sense: each a clear problem, and nothing has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import httpx
import pytest

from tests.parts.caller import Caller, problem
from tests.parts.fresh import fresh_text
from tests.parts.service import Refkeep

ROLE = "document/7/file"


@dataclass(frozen=True)
class World:
    """A list of two refs, one in the trash, one purged; the version of all of that."""

    admin: Caller
    live: tuple[str, str]
    trashed: str
    purged: str
    version: str

    def order(self, ref_ids: list[str], version: str) -> httpx.Response:
        return self.admin.http.put(f"/refs/{ROLE}/order", json={"ref_ids": ref_ids}, headers={"if-match": version})

    def state(self) -> object:
        """Everything that is there, and every decision but refusals."""
        media = self.admin.http.get("/media", params={"state": "all"}).json()
        done = [event["id"] for event in self.admin.events() if event["data"]["decision"] != "reject"]
        return media, self.admin.refs("document/7"), self.admin.version("document/7"), done


@pytest.fixture
def world(service: Refkeep) -> World:
    admin = service.caller("read", "write", "admin")
    first, second, third, fourth = [str(admin.post(ROLE, fresh_text()).json()["ref"]["ref_id"]) for _ in range(4)]
    for ref_id in (third, fourth):
        assert admin.http.delete(f"/media/{ref_id}").status_code == 200
    assert admin.http.post(f"/media/{fourth}/purge").status_code == 200
    return World(admin, (first, second), third, fourth, admin.version("document/7"))


Ask = Callable[[World], httpx.Response]
CHANGES: dict[str, tuple[Ask, int, str]] = {
    "restore what was purged": (lambda it: it.admin.http.post(f"/media/{it.purged}/restore"), 410, "gone"),
    "purge what was purged": (lambda it: it.admin.http.post(f"/media/{it.purged}/purge"), 410, "gone"),
    "release what was purged": (lambda it: it.admin.http.delete(f"/media/{it.purged}"), 410, "gone"),
    "revise what was purged": (
        lambda it: it.admin.http.patch(f"/media/{it.purged}", json={"alt": "a"}), 410, "gone"),
    "purge what is live": (lambda it: it.admin.http.post(f"/media/{it.live[0]}/purge"), 409, "not-trashed"),
    "revise what is trashed": (
        lambda it: it.admin.http.patch(f"/media/{it.trashed}", json={"alt": "a"}), 409, "in-trash"),
    "an order without one": (lambda it: it.order([it.live[0]], it.version), 422, "not-a-permutation"),
    "an order with one twice": (lambda it: it.order([it.live[0]] * 2, it.version), 422, "not-a-permutation"),
    "an order with what is trashed": (
        lambda it: it.order([*it.live, it.trashed], it.version), 422, "not-a-permutation"),
    "an order of what is not there any more": (
        lambda it: it.order([it.live[0], it.purged], it.version), 422, "not-a-permutation"),
    "an order of old": (lambda it: it.order([*reversed(it.live)], '"2"'), 412, "version-conflict"),
    "an order of the future": (lambda it: it.order([*reversed(it.live)], '"99"'), 412, "version-conflict"),
    "a release of old": (lambda it: it.admin.delete(f"{ROLE}/0", {"if-match": '"2"'}), 412, "version-conflict"),
    "a restore of old": (
        lambda it: it.admin.http.post(f"/media/{it.trashed}/restore", headers={"if-match": '"2"'}),
        412, "version-conflict"),
    "a purge of old": (
        lambda it: it.admin.http.post(f"/media/{it.trashed}/purge", headers={"if-match": '"2"'}),
        412, "version-conflict"),
    "a replace of old": (
        lambda it: it.admin.put(f"{ROLE}/0", it.admin.upload(b"a replacement"), {"if-match": '"2"'}),
        412, "version-conflict"),
    "an insert of old": (
        lambda it: it.admin.post(ROLE, it.admin.upload(b"a replacement"), {"if-match": '"2"'}, position=0),
        412, "version-conflict"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_makes_no_sense_is_a_clear_problem(world: World, change: str) -> None:
    ask, status, code = CHANGES[change]
    world.admin.upload(b"a replacement")
    before = world.state()
    told = problem(ask(world), status, code)
    if code == "version-conflict":
        assert f'"{told["version"]}"' == world.version
    after = world.state()
    if "of old" in change:  # its bytes were sent again, which renews their lease
        assert isinstance(before, tuple)
        assert isinstance(after, tuple)
        assert after[:3] == before[:3]
    else:
        assert after == before


BATCHED: dict[str, Callable[[World], dict[str, object]]] = {
    "restore what was purged": lambda it: {"op": "restore", "ref_id": it.purged},
    "release what was purged": lambda it: {"op": "release", "ref_id": it.purged},
    "revise what was purged": lambda it: {"op": "patch", "ref_id": it.purged, "alt": "a"},
    "revise what is trashed": lambda it: {"op": "patch", "ref_id": it.trashed, "alt": "a"},
    "a restore of old": lambda it: {"op": "restore", "ref_id": it.trashed, "if_match": 2},
    "an order without one": lambda it: {
        "op": "order",
        "entity_type": "document",
        "entity_id": "7",
        "role": "file",
        "ref_ids": [it.live[0]],
        "if_match": it.version.strip('"'),
    },
}


@pytest.mark.parametrize("change", BATCHED)
def test_the_same_within_a_batch_tells_where(world: World, change: str) -> None:
    _, status, code = CHANGES[change]
    operation, before = BATCHED[change](world), world.state()
    harmless = {"op": "patch", "ref_id": world.live[0], "alt": "would be changed"}
    answer = world.admin.http.post("/refs/batch", json={"operations": [harmless, operation]})
    assert problem(answer, status, code)["index"] == 1
    assert world.state() == before


FUTURE = ["1-7fffffffffffffff-0", "1-ffffffffffff-7fffffff", "2-1-0", "7fffffff-7fffffffffffffff-7fffffff"]


@pytest.mark.parametrize("cursor", FUTURE)
@pytest.mark.parametrize("narrowed", [{}, {"entity_type": "document", "entity_id": "7"}, {"decision": "purge"}])
def test_a_cursor_from_the_future_is_refused(world: World, cursor: str, narrowed: dict[str, str]) -> None:
    problem(world.admin.http.get("/events", params={"after": cursor, **narrowed}), 400, "bad-cursor")


GARBAGE = ["", "x", "-", "1-2", "\x00", "´", "0" * 5000, "ffffffffffff-" + "f" * 32, "0" * 31, "../..", "null"]


@pytest.mark.parametrize("cursor", GARBAGE)
@pytest.mark.parametrize("path", ["/media", "/media?state=trashed", "/media?state=all", f"/refs/{ROLE}"])
def test_a_cursor_that_no_list_made_is_refused(world: World, path: str, cursor: str) -> None:
    separator = "&" if "?" in path else "?"
    problem(world.admin.http.get(f"{path}{separator}{httpx.QueryParams(cursor=cursor)}"), 400, "bad-cursor")
