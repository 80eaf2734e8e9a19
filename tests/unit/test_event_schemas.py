"""The schemas of events: one for each type, true to the code, open for what may be added, shut for what is wrong."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
import msgspec
import pytest
from jsonschema import Draft202012Validator

from service.domain.event import DecisionKind, EventType
from service.schemas.events import EventData, EventHold, EventHolding, EventRef, decode_event, encode_event
from service.schemas.feed import CloudEvent
from tests.parts.vouching import vouch
from tests.promises.changes import CONTRACTS
from tests.promises.events import closed, read_source
from tests.promises.samples import NOW, sample_events

SOURCE = read_source()
SAMPLES = sample_events()
FILES = {path.name.removesuffix(".schema.json"): path for path in (CONTRACTS / "events").iterdir()}


def fits(type_: str, event: Any) -> bool:
    return bool(Draft202012Validator(json.loads(FILES[type_].read_text())).is_valid(event))


def names(shape: type[msgspec.Struct]) -> set[str]:
    return {*shape.__struct_fields__}


def test_every_type_of_event_has_a_schema_and_there_are_no_others() -> None:
    assert set(FILES) == set(SOURCE["types"]) == set(SAMPLES) == {*EventType}


def test_the_members_are_those_that_the_code_writes() -> None:
    told = {name for type_ in SOURCE["types"].values() for name in {**type_["has"], **type_.get("may_have", {})}}
    assert {"decision", *SOURCE["common"], *told} == names(EventData)
    assert {*SOURCE["envelope"], "type", "data"} == names(CloudEvent)
    assert {*SOURCE["defs"]["live_ref"]["properties"]} == names(EventRef)
    assert {*SOURCE["defs"]["trashed_ref"]["properties"]} == names(EventRef)
    assert {*SOURCE["members"]["holding"]["properties"]} == names(EventHolding)
    assert {*SOURCE["members"]["hold"]["properties"]} == names(EventHold)


def test_every_decision_that_is_recorded_is_that_of_a_type() -> None:
    told = {decision for type_ in SOURCE["types"].values() for decision in type_["decisions"]}
    assert told == {*DecisionKind} - {DecisionKind.NOOP}


@pytest.mark.parametrize("type_", SAMPLES)
def test_an_example_is_what_the_service_writes_and_reads(type_: str) -> None:
    schema = json.loads(FILES[type_].read_text())
    Draft202012Validator.check_schema(schema)
    [example] = schema["examples"]
    assert example == SAMPLES[type_]
    jsonschema.validate(example, schema, Draft202012Validator)
    data = msgspec.json.encode(example["data"])
    assert encode_event(decode_event(type_, NOW, data)) == data
    vouch(example)


def places(part: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where members stand."""
    if not isinstance(part, dict):
        return []
    return [(*path, name) for name in part] + [
        deep for name, inner in part.items() for deep in places(inner, (*path, name))
    ]


@pytest.mark.parametrize("type_", SAMPLES)
def test_a_member_that_is_missing_or_wrong_is_seen(type_: str) -> None:
    for *outer, last in places(SAMPLES[type_]):
        if last == "traceparent" or (last == "sha256" and type_ == EventType.REF_REJECTED) or last == "reason":
            continue
        for broken in ("missing", {"another": "type"}):
            event = copy.deepcopy(SAMPLES[type_])
            inner = event
            for name in outer:
                inner = inner[name]
            if broken == "missing":
                del inner[last]
            else:
                inner[last] = broken
            assert not fits(type_, event) or (last == "replaced" and broken == "missing"), (outer, last, broken)


@pytest.mark.parametrize("type_", SAMPLES)
def test_a_new_member_is_no_trouble_for_consumers_but_must_be_told_of(type_: str) -> None:
    for path in [(), ("data",), *(("data", name) for name in ("ref", "entity", "holding", "hold"))]:
        event = copy.deepcopy(SAMPLES[type_])
        inner = event
        for name in path:
            inner = inner.get(name)
            if inner is None:
                break
        if inner is None:
            continue
        inner["added_later"] = 1
        assert fits(type_, event)
        with pytest.raises(AssertionError):
            vouch(event)


def test_an_event_of_another_type_does_not_fit() -> None:
    for type_ in SAMPLES:
        assert [other for other in SAMPLES if fits(type_, SAMPLES[other])] == [type_]


def test_closing_leaves_examples_as_they_are() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "object"}}, "examples": [{"type": "object"}]}
    shut = closed(schema)
    assert shut["examples"] == [{"type": "object"}]
    assert shut["additionalProperties"] is shut["properties"]["a"]["additionalProperties"] is False
