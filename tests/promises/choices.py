"""A JSON Schema as the list of its alternatives, each without `$ref`, `allOf`, `anyOf`, `oneOf` and lists of types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = Any

_LOWER = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}
_UPPER = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}
LIMITS: dict[str, Callable[..., Json]] = {**dict.fromkeys(_LOWER, max), **dict.fromkeys(_UPPER, min)}
"""Keywords that bound a number from below or above, and which of two bounds is the tighter one."""

TEXTS = {"title", "description", "examples", "example", "summary", "deprecated", "discriminator"}
"""Keywords that demand nothing."""


def alternatives(root: Json, schema: Json) -> list[dict[str, Json]]:
    """What a value may be, any of these; `root` is the document that references point into."""
    if schema is False:
        return []
    own = {} if schema is True else dict(schema)
    choices = own.pop("anyOf", None) or own.pop("oneOf", None)
    parts = [*own.pop("allOf", []), *([_target(root, own.pop("$ref"))] if "$ref" in own else [])]
    found = [_spoken(own)]
    for part in parts:
        found = [_both(one, other) for one in found for other in alternatives(root, part)]
    if choices is not None:
        found = [_both(one, other) for one in found for choice in choices for other in alternatives(root, choice)]
    return [single for each in found for single in _of_one_type(each)]


def label(choice: dict[str, Json]) -> tuple[Json, ...]:
    """What tells an alternative from its neighbours: its type and its constants."""
    told = [(name, _constant(member)) for name, member in sorted(choice.get("properties", {}).items())]
    return choice.get("type"), *((name, str(value)) for name, value in told if value is not None)


def _constant(member: Json) -> Json:
    if not isinstance(member, dict):
        return None
    return member.get("const", next((each["const"] for each in member.get("allOf", ()) if "const" in each), None))


def whole(root: Json, schema: Json) -> Json:
    """The schema with what its references mean in their place and without texts, for comparison."""
    if isinstance(schema, list):
        return [whole(root, part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    own = {name: _whole_part(root, name, part) for name, part in schema.items() if name not in {"$ref", *TEXTS}}
    return {**own, "$ref": whole(root, _target(root, schema["$ref"]))} if "$ref" in schema else own


def _whole_part(root: Json, name: str, part: Json) -> Json:
    if name in {"properties", "patternProperties"}:  # names of members, not keywords
        return {member: whole(root, schema) for member, schema in part.items()}
    return part if name in {"enum", "const", "default"} else whole(root, part)


def _target(root: Json, ref: str) -> Json:
    found = root
    for name in ref.removeprefix("#/").split("/"):
        found = found[name]
    return found


def _spoken(schema: dict[str, Json]) -> dict[str, Json]:
    said = {name: part for name, part in schema.items() if name not in TEXTS and name[0] not in "$x"}
    if "const" in said:
        said["enum"] = [said.pop("const")]
    return said


def _of_one_type(schema: dict[str, Json]) -> list[dict[str, Json]]:
    types = schema.get("type")
    return [{**schema, "type": each} for each in types] if isinstance(types, list) else [schema]


def _both(one: dict[str, Json], other: dict[str, Json]) -> dict[str, Json]:
    """A schema for what fits both."""
    return {**one, **other, **{name: _met(name, one[name], other[name]) for name in one.keys() & other.keys()}}


def _met(name: str, one: Json, other: Json) -> Json:
    if one == other:
        return one
    match name:
        case "properties":
            shared = {member: {"allOf": [one[member], other[member]]} for member in one.keys() & other.keys()}
            return {**one, **other, **shared}
        case "required":
            return sorted({*one, *other})
        case "enum":
            return [value for value in one if value in other]
        case _ if name in LIMITS:
            return LIMITS[name](one, other)
        case _:
            return {"allOf": [one, other]}
