"""contracts/decisions.yaml comes true: each row is brought about over HTTP, each decision and refusal has one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.domain import errors
from service.domain.event import DecisionKind, EventType
from tests.parts.caller import Caller, problem, sha256_of
from tests.parts.service import Refkeep, Yard

CONTRACTS = Path(__file__).parents[2] / "contracts"
ROWS: list[dict[str, Any]] = yaml.safe_load((CONTRACTS / "decisions.yaml").read_text())["rows"]
ROLES = {"single": "ticket/7/summary", "list": "ticket/7/attachment", "none": "ticket/7/nowhere"}
NUMBERS = count(1)
ASKED = ("role", "there", "ask", "at", "shows", "seen", "alt", "visibility")
CONTENT, HUGE, BINARY = b"A\n", b"x" * 65537, bytes(range(256))
HOLD = {"kind": "quarantine", "reason": "A test"}
# Of media that need a decoder or a picture to be met, and of the service's limits: their own tests show them.
ELSEWHERE = {
    "digest-mismatch",
    "dimensions-exceeded",
    "duration-exceeded",
    "media-type-mismatch",
    "quota-exceeded",
    "unreadable-media",
}


@dataclass
class Scene:
    """A workspace, the role that a row is about, and the refs that were made there."""

    caller: Caller
    operator: Caller
    other: Caller
    row: dict[str, Any]
    refs: list[str] = field(default_factory=list)

    @property
    def role(self) -> str:
        return ROLES[self.row["role"]]

    @property
    def ref(self) -> str:
        return self.refs[0]

    def arrange(self) -> None:
        """Bring about what is there."""
        for part in self.row["there"].split("+"):
            ARRANGED[part](self)

    def fill(self, *contents: str) -> None:
        for text in contents:
            made = self.caller.post(self.role, self.caller.upload(f"{text}\n".encode()))
            assert made.status_code == 201, made.text
            self.refs.append(made.json()["ref"]["ref_id"])

    def trash(self) -> None:
        self.fill("A")
        assert self.caller.http.delete(f"/media/{self.ref}").status_code == 200

    def purge(self) -> None:
        self.trash()
        assert self.caller.http.post(f"/media/{self.ref}/purge").status_code == 200

    def hold(self) -> None:
        self.caller.upload(self.content)
        assert self.operator.http.put(f"/holds/{sha256_of(self.content)}", json=HOLD).status_code == 201

    @property
    def content(self) -> bytes:
        """Bytes of this scene alone: what operators do about bytes concerns all workspaces."""
        return f"of {self.caller.workspace}\n".encode()

    def headers(self) -> dict[str, str]:
        version = int(self.caller.version("ticket/7").strip('"')) if self.row["role"] != "none" else 0
        seen = {"now": version, "before": version + 7 if version == 0 else version - 1}.get(self.row.get("seen", ""))
        return {} if seen is None else {"if-match": f'"{seen}"'}

    def shown(self) -> bytes | str:
        match self.row["shows"]:
            case "raw":
                return b"Along\n"
            case "huge":
                return HUGE
            case "binary":
                return BINARY
            case "unsent":
                return sha256_of(b"never")
            case "new":
                return self.caller.upload(b"New\n")
            case letter:
                return self.caller.upload(f"{letter}\n".encode())

    def attach(self, method: str, place: str, **members: Any) -> Any:
        given = {name: self.row[name] for name in ("alt", "visibility") if name in self.row}
        write = self.caller.put if method == "put" else self.caller.post
        return write(place, self.shown(), self.headers(), **members, **given)

    def media(self, method: str, path: str = "", json: Any = None) -> Any:
        return self.caller.http.request(method, f"/media/{self.ref}{path}", json=json, headers=self.headers())

    def order(self, refs: list[str]) -> Any:
        return self.caller.http.put(f"/refs/{self.role}/order", json={"ref_ids": refs}, headers=self.headers())

    def release(self, place: str) -> Any:
        return self.caller.delete(place, self.headers())

    def blob(self, method: str, path: str = "/blobs/", **options: Any) -> Any:
        by = self.operator if path != "/blobs/" else self.caller
        workspace = {"workspace": self.caller.workspace} if path == "/holdings/" else {}
        return by.http.request(method, f"{path}{sha256_of(self.content)}", headers=workspace, **options)


ARRANGED: dict[str, Callable[[Scene], object]] = {
    "nothing": lambda _: None,
    "one": lambda scene: scene.fill("B" if scene.refs else "A"),
    "two": lambda scene: scene.fill("A", "B"),
    "three": lambda scene: scene.fill("A", "B", "C"),
    "trashed": Scene.trash,
    "purged": Scene.purge,
    "unsent": lambda _: None,
    "held": lambda scene: scene.caller.upload(scene.content),
    "ref": lambda scene: scene.caller.post(ROLES["list"], sha256_of(scene.content)),
    "held elsewhere": lambda scene: scene.other.upload(scene.content),
    "on hold": Scene.hold,
}
ASKS: dict[str, Callable[[Scene], Any]] = {
    "put": lambda scene: scene.attach("put", f"{scene.role}/{scene.row['at']}"),
    "append": lambda scene: scene.attach("post", scene.role),
    "insert": lambda scene: scene.attach("post", scene.role, position=scene.row["at"]),
    "release": lambda scene: scene.release(f"{scene.role}/{scene.row['at']}"),
    "release-role": lambda scene: scene.release(scene.role),
    "release-entity": lambda scene: scene.release("ticket/7"),
    "reorder": lambda scene: scene.order(scene.refs[::-1]),
    "reorder-same": lambda scene: scene.order(scene.refs),
    "reorder-short": lambda scene: scene.order(scene.refs[1:]),
    "release-ref": lambda scene: scene.media("DELETE"),
    "restore": lambda scene: scene.media("POST", "/restore"),
    "restore-replacing": lambda scene: scene.media("POST", "/restore", {"on_conflict": "replace"}),
    "purge": lambda scene: scene.media("POST", "/purge"),
    "relabel": lambda scene: scene.media("PATCH", json={"alt": "Other"}),
    "relabel-same": lambda scene: scene.media("PATCH", json={"alt": None}),
    "publish": lambda scene: scene.media("PATCH", json={"visibility": "public"}),
    "send": lambda scene: scene.blob("PUT", content=scene.content),
    "ask-missing": lambda scene: scene.caller.http.post("/blobs/missing", json={"sha256": [sha256_of(scene.content)]}),
    "give-up": lambda scene: scene.blob("DELETE"),
    "grant": lambda scene: scene.blob("PUT", "/holdings/"),
    "place-hold": lambda scene: scene.blob("PUT", "/holds/", json={**HOLD, "kind": "legal"}),
    "place-hold-same": lambda scene: scene.blob("PUT", "/holds/", json=HOLD),
    "lift-hold": lambda scene: scene.blob("DELETE", "/holds/"),
}


@pytest.fixture(scope="module")
def ruled(yard: Yard) -> Iterator[Refkeep]:
    """A service under the example of a policy file."""
    with yard.running(POLICIES=CONTRACTS / "policies.example.toml") as started:
        yield started


@pytest.fixture(scope="module")
def operator(ruled: Refkeep) -> Caller:
    return ruled.bearer(ruled.key(None, "read", "write", "admin", "operator"))


@pytest.fixture(scope="module")
def other(ruled: Refkeep) -> Caller:
    return ruled.caller("read", "write")


def _newcomer(ruled: Refkeep, operator: Caller) -> Caller:
    """A new workspace, by HTTP alone: commands would take most of the time."""
    caller = ruled.bearer(operator.token, f"scene-{next(NUMBERS)}")
    caller.http.headers["workspace"] = caller.workspace
    assert operator.http.put(f"/workspaces/{caller.workspace}", json={}).status_code == 201
    return caller


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(str(row[name]) for name in ASKED if name in row))
def test_a_row_comes_true(ruled: Refkeep, operator: Caller, other: Caller, row: dict[str, Any]) -> None:
    scene = Scene(_newcomer(ruled, operator), operator, other, row)
    scene.arrange()
    if row.get("shows") in {"A", "B", "new"}:
        scene.shown()
    before = len(scene.caller.events())
    response = ASKS[row["ask"]](scene)
    recorded = [event["type"] for event in scene.caller.events()[before:]]
    own = [
        type_ for type_ in recorded if row["ask"] == "send" or type_ != EventType.HOLDING_ACQUIRED or "shows" not in row
    ]
    if "code" in row:
        problem(response, row["status"], row["code"])
    assert response.status_code == row["status"], response.text
    told = response.json().get("decision", "none") if response.content else "none"
    assert told == ("none" if row["decision"] == "reject" else row["decision"])
    assert own == ([] if row["event"] == "none" else [f"refkeep.{row['event']}.v1"])


def test_no_question_has_two_answers() -> None:
    asked = [tuple(row.get(name) for name in ASKED) for row in ROWS]
    assert len(set(asked)) == len(asked)


def test_every_decision_and_every_refusal_by_a_rule_has_a_row() -> None:
    assert {row["decision"] for row in ROWS} == {*DecisionKind, "none"}
    refusals = {
        found.code
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, errors.Rejected) and "code" in vars(found)
    }
    assert {row["code"] for row in ROWS if "code" in row} | ELSEWHERE >= refusals
    of_health = {EventType.BLOB_MISSING, EventType.BLOB_CORRUPT, EventType.BLOB_HEALED}  # nobody asks for them
    assert {f"refkeep.{row['event']}.v1" for row in ROWS} - {"refkeep.none.v1"} == {*EventType} - of_health
