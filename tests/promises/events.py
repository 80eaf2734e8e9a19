"""contracts/events.yaml as JSON Schemas: one for each type, open for consumers, closed for our own tests."""

from __future__ import annotations

from typing import Any

import yaml

from tests.promises.changes import CONTRACTS, Json

SOURCE = CONTRACTS / "events.yaml"
SUBJECTS = {
    "entity": "^[a-z][a-z0-9_]{0,63}/[A-Za-z0-9][A-Za-z0-9._~:@-]{0,199}$",
    "blob": "^blobs/[0-9a-f]{64}$",
}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def read_source() -> Json:
    """What contracts/events.yaml says."""
    return yaml.safe_load(SOURCE.read_text())


def event_schemas(source: Json, examples: dict[str, Json]) -> dict[str, Json]:
    """A schema by type of event; `examples` has an event of each type."""
    return {type_: _schema(source, type_, examples[type_]) for type_ in source["types"]}


def closed(schema: Json) -> Json:
    """The same without room for members that are not named."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: closed(part) if name != "examples" else part for name, part in schema.items()}
    return {**parts, "additionalProperties": False} if schema.get("type") == "object" else parts


def _schema(source: Json, type_: str, example: Json) -> dict[str, Json]:
    told = source["types"][type_]
    envelope = {
        **source["envelope"],
        "type": {"const": type_},
        "subject": {**source["envelope"]["subject"], "pattern": SUBJECTS[told["about"]]},
        "data": _data(source, told),
    }
    schema = {
        "$schema": _DIALECT,
        "$id": f"urn:refkeep:event:{type_}",
        "title": type_,
        "description": told["says"],
        "type": "object",
        "properties": envelope,
        "required": [*envelope],
        "examples": [example],
    }
    return {**schema, "$defs": {name: source["defs"][name] for name in sorted(_needed(source["defs"], schema))}}


def _data(source: Json, told: Json) -> dict[str, Json]:
    common: dict[str, Any] = {"decision": {"enum": told["decisions"]}, **source["common"]}
    if told.get("operators"):
        common["workspace"] = {**common["workspace"], "type": ["string", "null"]}
    own = {name: source["members"][kind] for name, kind in {**told["has"], **told.get("may_have", {})}.items()}
    return {
        "type": "object",
        "properties": {**common, **own},
        "required": ["decision", "workspace", "actor", *told["has"]],
    }


def _needed(defs: Json, part: Json) -> set[str]:
    """The definitions that a part refers to, and those that they refer to."""
    if isinstance(part, dict):
        name = str(part.get("$ref", "")).removeprefix("#/$defs/")
        own = {name, *_needed(defs, defs[name])} if name else set()
        return own.union(*(_needed(defs, inner) for key, inner in part.items() if key != "examples"))
    if isinstance(part, list):
        return set[str]().union(*(_needed(defs, inner) for inner in part))
    return set()
