"""Following the links of our OpenAPI document: every answer leads to requests about what it tells of.

schemathesis chooses the calls and generates what no link says; the checks are its own, for every answer. What is
random and would only be refused (cursors, keys, other bytes than their name) is taken out: schemathesis.toml tries it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, repeat
from typing import Any

import httpx
import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.core import NotSet

from tests.parts.caller import Caller, sha256_of
from tests.parts.service import Refkeep

CONTENTS = tuple(f"Story {number}\n".encode() for number in range(3))
_PLACE = {"entity_type": "document", "entity_id": "7", "role": "file", "position": "0"}
SUCCESS = range(200, 300)
_UNCHECKED = (
    "ignored_auth",  # two more requests for each, which test_schemathesis.py makes
    "negative_data_rejection",
    "positive_data_acceptance",  # rules that a schema cannot state refuse some of it: a policy, a full role
    "use_after_free",  # what is deleted is in the trash, from where its workspace may read and restore it
)
_CONFIG = {
    "checks": {name: {"enabled": False} for name in _UNCHECKED},
    "generation": {"mode": "positive", "database": "none", "with-security-parameters": False},
    "phases": {"stateful": {"inference": {"algorithms": []}}},
}
_LINKED = {"If-Match": re.compile(r'"\d+"'), "cursor": re.compile(r"[0-9a-f]+-[0-9a-f]{32}")}


@dataclass
class Followed:
    """What a run has seen: `answers` by operation and status, `links` that were followed, `courses` of each ref."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    links: Counter[str] = field(default_factory=Counter)
    courses: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def went(self, *names: str) -> bool:
        """Whether some ref went this way, with other calls between them or not."""
        return any(_within(names, course) for course in self.courses.values())


def follow(service: Refkeep, *, seed: int, scenarios: int, steps: int = 12, seen: Followed | None = None) -> Followed:
    """Follow links in `scenarios` of `steps` calls; raises what schemathesis found wrong.

    What was `seen` before is continued. The same seed chooses the same way as long as document and libraries stay.
    """
    config = schemathesis.Config.from_dict(_CONFIG)
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json", config=config)
    machine = schema.include(tag=["Blobs", "Refs", "Media"]).as_state_machine()
    operator = service.bearer(service.key(None, "read", "write", "admin", "operator"))
    workspaces = map("{}-{}".format, repeat(service.workspace()), count())
    seen = seen or Followed()
    story = type("Story", (_Following, machine), {"operator": operator, "workspaces": workspaces, "seen": seen})
    hypothesis.seed(seed)(story)
    settings = hypothesis.settings(
        max_examples=scenarios,
        stateful_step_count=steps,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
        database=None,
        derandomize=False,
    )
    story.run(settings=settings)  # type: ignore[attr-defined]
    return seen


class _Following:
    """What our stories add to schemathesis's machine: a workspace for each, so that equal steps bring equal answers."""

    operator: Caller
    workspaces: Iterator[str]
    seen: Followed

    def setup(self) -> None:
        self.workspace = next(self.workspaces)
        self.ref_id = _furnish(self.operator.http, self.workspace)
        self.seen.courses[self.ref_id] = ["post_ref"]

    def get_call_kwargs(self, _case: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.operator.token}", "Workspace": self.workspace}
        return {"headers": headers, "timeout": 20}

    def before_call(self, case: Any) -> None:
        sensible(case)
        if "ref_id" in case.path_parameters and case.path_parameters["ref_id"] not in self.seen.courses:
            case.path_parameters["ref_id"] = self.ref_id

    def step(self, input: Any) -> Any:  # noqa: A002 - the name is schemathesis's
        output = super().step(input)  # type: ignore[misc]
        if input.transition is not None:
            self.seen.links[input.transition.id] += 1
        self._note(output.response, input.case)
        return output

    def _note(self, response: Any, case: Any) -> None:
        name = str(case.operation.definition.raw["operationId"])
        self.seen.answers[name, response.status_code] += 1
        if response.status_code in SUCCESS and (ref_id := _ref_of(response, case)) is not None:
            self.ref_id = ref_id
            self.seen.courses[ref_id].append(name)


def _within(names: Sequence[str], course: Sequence[str]) -> bool:
    remaining = iter(course)
    return all(name in remaining for name in names)


def _ref_of(response: Any, case: Any) -> str | None:
    """The ref that a request was about, or made."""
    if "ref_id" in case.path_parameters:
        return str(case.path_parameters["ref_id"])
    document = response.json() if response.headers.get("content-type") == "application/json" else {}
    ref = document.get("ref")
    return None if ref is None else str(ref["ref_id"])


def sensible(case: Any) -> None:
    """Leave of a generated request what may succeed, and send bytes under their name."""
    case.headers, case.query = _sensible_members(case.headers), _sensible_members(case.query)
    case.path_parameters.update({name: text for name, text in _PLACE.items() if name in case.path_parameters})
    if case.media_type is None or isinstance(case.body, NotSet):
        return
    content = CONTENTS[len(str(case.body)) % len(CONTENTS)]
    if case.media_type == "multipart/form-data":
        case.body = {"file": content}
    elif "json" not in case.media_type or case.operation.path.startswith("/blobs"):
        case.body, case.media_type = content, "text/plain"
    elif isinstance(case.body, dict):
        case.body = _plain(case.body) | ({"sha256": sha256_of(content)} if "sha256" in case.body else {})
    if case.operation.label == "PUT /blobs/{sha256}":
        case.path_parameters["sha256"] = sha256_of(content)


def _sensible_members(members: Any) -> dict[str, Any]:
    """Those that a link gave, which have a form that chance does not find."""
    found = (members or {}).items()
    return {name: value for name, value in found if name in _LINKED and _LINKED[name].fullmatch(str(value))}


def _plain(body: dict[str, Any]) -> dict[str, Any]:
    """Without texts that no label takes, and without a position, which would need a version."""
    return {
        name: value
        for name, value in body.items()
        if name != "position" and not (isinstance(value, str) and not value.isprintable())
    }


def _furnish(http: httpx.Client, workspace: str) -> str:
    """Make a new workspace that holds bytes, and one ref, whose id it returns."""
    own = {"workspace": workspace}
    assert http.put(f"/workspaces/{workspace}", json={}).status_code == 201
    for content in CONTENTS:
        assert http.put(f"/blobs/{sha256_of(content)}", content=content, headers=own).status_code == 201
    made = http.post("/refs/document/7/file", json={"sha256": sha256_of(CONTENTS[0])}, headers=own)
    assert made.status_code == 201
    return str(made.json()["ref"]["ref_id"])
