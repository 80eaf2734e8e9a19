"""The rules of evolution: each kind of change is seen, and breaks the build or not as contracts/evolution.yaml says."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from service.router.openapi.document import build_document
from tests.promises import __main__ as promises
from tests.promises.api import compare_apis
from tests.promises.changes import CONTRACTS, Change, Side, read_evolution, retired
from tests.promises.deprecations import announced
from tests.promises.files import compared, cut, read
from tests.promises.records import compare_records
from tests.promises.schemas import Schemas

EVOLUTION = read_evolution()
API = build_document()
ENDED = {"deprecated": True, "x-sunset": "2026-01-01"}

Schema = Any
Edit = Callable[[Any], object]


def obj(required: tuple[str, ...] = (), /, **members: Schema) -> Schema:
    return {"type": "object", "properties": members, "required": [*required]}


TEXT, NUMBER, NULL = {"type": "string"}, {"type": "integer"}, {"type": "null"}
AB, ABC = {"enum": ["a", "b"]}, {"enum": ["a", "b", "c"]}
# The rule, before, after: what callers write, and what they read.
SCHEMAS: list[tuple[str, Schema, Schema]] = [
    ("member-removed", obj(a=TEXT, b=TEXT), obj(a=TEXT)),
    ("member-retired", obj(a=TEXT, b={**TEXT, **ENDED}), obj(a=TEXT)),
    ("member-added", obj(a=TEXT), obj(a=TEXT, b=TEXT)),
    ("member-demanded", obj(a=TEXT), obj(("a",), a=TEXT)),
    ("member-optional", obj(("a",), a=TEXT), obj(a=TEXT)),
    ("closed", obj(a=TEXT), {**obj(a=TEXT), "additionalProperties": False}),
    ("opened", {**obj(a=TEXT), "additionalProperties": False}, obj(a=TEXT)),
    ("type-changed", obj(a=TEXT), obj(a=NUMBER)),
    ("type-narrowed", obj(a={"type": "number"}), obj(a=NUMBER)),
    ("type-narrowed", obj(a={}), obj(a=TEXT)),
    ("type-widened", obj(a=NUMBER), obj(a={"type": "number"})),
    ("choice-removed", {"anyOf": [TEXT, NULL]}, TEXT),
    ("choice-removed", {"type": ["string", "null"]}, {"type": "string"}),
    ("choice-added", TEXT, {"oneOf": [TEXT, NULL]}),
    ("value-removed", ABC, AB),
    ("value-added", AB, ABC),
    ("values-fixed", TEXT, {**TEXT, **AB}),
    ("values-freed", {**TEXT, **AB}, TEXT),
    ("limit-tightened", {**NUMBER, "maximum": 500}, {**NUMBER, "maximum": 100}),
    ("limit-tightened", {"type": "array"}, {"type": "array", "minItems": 1}),
    ("limit-loosened", {**TEXT, "maxLength": 5}, {**TEXT, "maxLength": 6}),
    ("limit-loosened", {**NUMBER, "minimum": 1}, NUMBER),
    ("form-demanded", TEXT, {**TEXT, "pattern": "^a"}),
    ("form-freed", {**TEXT, "format": "uuid"}, TEXT),
    ("form-changed", {**TEXT, "pattern": "^a"}, {**TEXT, "pattern": "^b"}),
    ("condition-changed", obj(a=TEXT), {**obj(a=TEXT), "not": {"required": ["a"]}}),
    ("default-changed", {**NUMBER, "default": 1}, {**NUMBER, "default": 2}),
    ("default-changed", {**NUMBER, "default": 1}, NUMBER),
    ("default-named", NUMBER, {**NUMBER, "default": 1}),
]


def operation(document: Any, path: str = "/refs/{entity_type}/{entity_id}/{role}", method: str = "post") -> Any:
    return document["paths"][path][method]


def answer(document: Any, status: str = "201") -> Any:
    return operation(document)["responses"][status]


def parameter(document: Any, name: str) -> Any:
    return next(
        each for each in document["components"]["parameters"].values() if each["name"] == name and each["in"] == "query"
    )


def without_wait(document: Any) -> Any:
    found = operation(document, "/events", "get")["parameters"]
    found[:] = [each for each in found if each.get("name") != "wait"]


def retire(document: Any, ended: dict[str, Any]) -> None:
    """Announce ends in the last release, of what the edits then take away."""
    operation(document, "/events", "get").update(ended)
    next(each for each in operation(document, "/events", "get")["parameters"] if each.get("name") == "wait").update(
        ended
    )
    answer(document)["content"]["application/json"].update(ended)
    answer(document).update(ended)
    answer(document)["headers"]["ETag"] = {"schema": TEXT, "required": True, **ended}
    answer(document)["links"]["media"] |= ended
    operation(document)["requestBody"]["content"]["application/json"].update(ended)


def deleted(*names: str) -> Edit:
    def edit(document: Any) -> None:
        for name in names[:-1]:
            document = document[name]
        del document[names[-1]]

    return edit


ROLE = ("paths", "/refs/{entity_type}/{entity_id}/{role}", "post")
MADE = (*ROLE, "responses", "201")
# The rule, and what is done to our own document; what can be retired is announced in the last release for `-retired`.
EDITS: list[tuple[str, Edit]] = [
    ("operation-removed", deleted("paths", "/events")),
    ("operation-removed", deleted("paths", "/media/{ref_id}", "patch")),
    ("operation-retired", deleted("paths", "/events", "get")),
    (
        "operation-added",
        lambda api: operation(api, "/events", "get") and api["paths"]["/events"].update(post=operation(api)),
    ),
    ("name-changed", lambda api: operation(api).update(operationId="append_ref")),
    ("access-narrowed", lambda api: operation(api).update(security=[{"key": ["write", "admin"]}])),
    ("access-narrowed", lambda api: operation(api, "/livez", "get").update(security=[{"key": []}])),
    ("access-widened", lambda api: operation(api).update(security=[{"key": []}])),
    ("parameter-removed", without_wait),
    ("parameter-retired", without_wait),
    ("parameter-added", lambda api: operation(api)["parameters"].append({"name": "x", "in": "query", "schema": TEXT})),
    ("parameter-demanded", lambda api: parameter(api, "cursor").update(required=True)),
    ("body-removed", deleted(*ROLE, "requestBody")),
    ("body-demanded", lambda api: operation(api, "/media/{ref_id}/restore")["requestBody"].update(required=True)),
    ("media-type-removed", deleted(*ROLE, "requestBody", "content", "multipart/form-data")),
    ("media-type-removed", deleted(*MADE, "content", "application/json")),
    ("media-type-retired", deleted(*ROLE, "requestBody", "content", "application/json")),
    ("media-type-retired", deleted(*MADE, "content", "application/json")),
    ("media-type-added", lambda api: answer(api)["content"].update({"application/cbor": {"schema": {}}})),
    ("media-type-added", lambda api: operation(api)["requestBody"]["content"].update({"application/cbor": {}})),
    ("status-removed", deleted(*MADE)),
    ("status-removed", deleted(*ROLE, "responses", "413")),
    ("status-retired", deleted(*MADE)),
    ("success-added", lambda api: operation(api)["responses"].update({"202": {"description": "Later."}})),
    ("refusal-added", lambda api: operation(api)["responses"].update({"429": {"description": "Slower."}})),
    (
        "problem-removed",
        lambda api: answer(api, "422")["content"]["application/problem+json"]["schema"]["oneOf"].pop(),
    ),
    (
        "problem-added",
        lambda api: answer(api, "422")["content"]["application/problem+json"]["schema"]["oneOf"].append(
            {"$ref": "#/components/schemas/GoneProblem"}
        ),
    ),
    ("header-removed", deleted(*MADE, "headers", "ETag")),
    ("header-retired", deleted(*MADE, "headers", "ETag")),
    ("header-optional", lambda api: api["components"]["headers"]["EntityETag"].update(required=False)),
    ("header-added", lambda api: answer(api)["headers"].update(Age={"schema": NUMBER})),
    ("link-removed", deleted(*MADE, "links", "media")),
    ("link-retired", deleted(*MADE, "links", "media")),
    ("link-changed", lambda api: answer(api)["links"]["media"].update(operationId="get_events")),
    ("link-added", lambda api: answer(api)["links"].update(more={"operationId": "get_events"})),
    # and what schemas mean in their place
    ("member-removed", deleted("components", "schemas", "RefDocument", "properties", "alt")),
    ("member-demanded", lambda api: api["components"]["schemas"]["AttachRequest"]["required"].append("owner")),
    ("value-removed", lambda api: api["components"]["schemas"]["Visibility"]["enum"].remove("public")),
    ("default-changed", lambda api: parameter(api, "limit")["schema"].update(default=50)),
]
RECORDS: list[tuple[str, Any, Any]] = [
    ("record-removed", {"gone": {"status": 410}, "x": 1}, {"x": 1}),
    ("record-removed", ["success", "error"], ["error"]),
    ("record-added", {"x": 1}, {"x": 1, "y": 2}),
    ("record-added", [{"name": "a", "status": 1}], [{"name": "b", "status": 1}, {"name": "a", "status": 1}]),
    ("record-changed", [{"name": "a", "status": 201}], [{"name": "a", "status": 200}]),
    ("record-changed", {"gone": {"retryable": False}}, {"gone": {"retryable": True}}),
]


def rules_of(changes: list[Change]) -> set[str]:
    return {change.rule for change in changes}


@pytest.mark.parametrize("side", ["request", "answer"])
@pytest.mark.parametrize(("rule", "before", "after"), SCHEMAS)
def test_a_change_of_a_schema_is_seen_and_judged_by_who_writes(rule: str, before: Any, after: Any, side: Any) -> None:
    changes = [*Schemas(before, after, side).compare(before, after, "it")]
    assert rules_of(changes) == {rule}
    assert bool(EVOLUTION.broken(changes)) is ((rule, side) in EVOLUTION.breaking)


@pytest.mark.parametrize(("rule", "edit"), EDITS, ids=[f"{rule} {number}" for number, (rule, _) in enumerate(EDITS)])
def test_a_change_of_our_document_is_seen_and_judged(rule: str, edit: Edit) -> None:
    before = copy.deepcopy(API)
    if rule.endswith("-retired"):
        retire(before, ENDED)
    after = copy.deepcopy(before)
    edit(after)
    changes = [*compare_apis(before, after)]
    assert rule in rules_of(changes), changes
    breaking = {change.rule for change in EVOLUTION.broken(changes)}
    judged = {(change.rule, change.side) for change in changes if change.rule == rule}
    assert (rule in breaking) is bool(judged & EVOLUTION.breaking)
    assert breaking <= {rule}


@pytest.mark.parametrize(("rule", "before", "after"), RECORDS)
def test_a_change_of_a_table_is_seen_and_judged(rule: str, before: Any, after: Any) -> None:
    changes = [*compare_records(before, after, "it")]
    assert rules_of(changes) == {rule}
    assert bool(EVOLUTION.broken(changes)) is ((rule, "answer") in EVOLUTION.breaking)


def test_every_rule_has_its_example() -> None:
    shown = {rule for rule, *_ in [*SCHEMAS, *EDITS, *RECORDS]} | {"file-removed", "file-added"}
    assert shown == {rule for rule, _ in EVOLUTION.known}


def test_what_people_read_may_be_written_anew() -> None:
    after = json.loads(json.dumps(API).replace("Append a ref", "Put a ref at the end of").replace("Pixels.", "In px."))
    assert after != API
    assert [*compare_apis(API, after)] == []
    assert [*compare_records({"a": {"says": "x", "n": 1}}, {"a": {"says": "y", "n": 1}}, "")] == []


def test_a_member_may_be_named_like_a_keyword() -> None:
    before, after = obj(title=TEXT, description=TEXT), obj(title=TEXT)
    assert rules_of([*Schemas(before, after, "answer").compare(before, after, "it")]) == {"member-removed"}


def test_another_way_to_write_the_same_schema_is_no_change() -> None:
    before = {
        "$defs": {"Name": TEXT},
        "schema": obj(("a",), a={"$ref": "#/$defs/Name"}, b={"type": ["integer", "null"]}),
    }
    after = {"schema": {"allOf": [obj(b={"anyOf": [NULL, NUMBER]}), obj(("a",), a=TEXT)]}}
    for side in get_args(Side):
        assert [*Schemas(before, after, side).compare(before["schema"], after["schema"], "it")] == []


SIMPLE = st.sampled_from([TEXT, NUMBER, NULL, AB, ABC, {"type": ["string", "null"]}, {**NUMBER, "maximum": 9}, {}])
NESTED = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(lambda found: obj(**found)),
        inner.map(lambda found: {"type": "array", "items": found}),
        st.lists(inner, min_size=1, max_size=2).map(lambda found: {"anyOf": found}),
    ),
    max_leaves=6,
)


@given(NESTED, NESTED)
def test_no_change_is_without_a_rule_and_none_is_seen_where_there_is_none(before: Any, after: Any) -> None:
    for side in get_args(Side):
        assert [*Schemas(before, before, side).compare(before, copy.deepcopy(before), "it")] == []
        EVOLUTION.broken([*Schemas(before, after, side).compare(before, after, "it")])


def test_an_end_comes_on_its_day_and_must_name_it() -> None:
    day = date(2026, 1, 1)
    assert retired(ENDED, day)
    assert not retired(ENDED, day - timedelta(days=1))
    assert not retired({"type": "string"}, day)
    assert [*announced({"a": [ENDED]}, {"a": [{}]})] == [("a 0", day)]
    assert [*announced({"a": [ENDED]}, {"a": [ENDED]})] == []
    with pytest.raises(KeyError):
        [*announced({"deprecated": True}, None)]


def test_an_exception_counts_where_it_was_decided_and_must_be_needed() -> None:
    document = yaml.safe_load((CONTRACTS / "evolution.yaml").read_text())
    document["accepted"] = [{"rule": "value-removed", "where": "here", "why": "It was never true."}]
    evolution = read_evolution(document)
    change = Change("value-removed", "request", "here", "'x'")
    assert evolution.broken([change]) == []
    assert evolution.broken([Change("value-removed", "request", "there", "'x'")]) != []
    assert evolution.idle([change]) == []
    assert evolution.idle([]) == [("value-removed", "here")]


def test_a_change_without_a_rule_is_refused() -> None:
    with pytest.raises(KeyError):
        EVOLUTION.broken([Change("value-turned-round", "answer", "here", "")])


def test_nothing_breaks_those_who_call_the_last_release() -> None:
    assert EVOLUTION.broken(compared()) == []
    assert promises.stale() == []


def test_a_release_is_a_copy_that_the_next_one_is_compared_with(tmp_path: Path) -> None:
    released = tmp_path / "released"
    cut(released)
    assert [*compared(released)] == []
    (released / "events/refkeep.ref.merged.v1.schema.json").write_text("{}")
    (released / "events/refkeep.ref.purged.v1.schema.json").unlink()
    assert {change.rule for change in compared(released)} == {"file-removed", "file-added"}
    event = released / "events/refkeep.ref.inserted.v1.schema.json"
    event.write_text(event.read_text().replace('"alt"', '"caption"'))
    document = read("openapi.yaml")
    del document["paths"]["/snapshot"]
    document["paths"]["/moments"] = document["paths"]["/events"]
    (released / "openapi.yaml").write_text(yaml.dump(document, Dumper=yaml.CSafeDumper))
    found = {change.rule for change in EVOLUTION.broken(compared(released))}
    assert found == {"file-removed", "member-removed", "operation-removed"}
