"""The OpenAPI document: complete, true to the code, with examples that hold, and the same at every run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import msgspec
import openapi_spec_validator
import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from service.commands.openapi import openapi
from service.delivery.routes import BlobRoute, MediaRoute, PresetRoute, Route
from service.domain import errors
from service.router import feed, media
from service.router.api import HANDLERS, operations_by_route
from service.router.feed import EventQuery
from service.router.media import MediaQuery
from service.router.openapi.components import DOCUMENTS, problem_name
from service.router.openapi.document import build_document
from service.router.problems import PROBLEMS, problem_answer
from service.schemas import operators, requests
from service.schemas.batch import Operation
from service.schemas.requests import AttachFields, ListQuery

FILE = Path(__file__).parents[2] / "openapi.yaml"
METHODS = {"get", "head", "post", "put", "delete", "patch", "options", "trace"}
SHA = "ab" * 32
SAMPLES: list[errors.RefkeepError] = [
    errors.BadName("role", "X"),
    errors.PolicyUnknown("book", "back", []),
    errors.TooLarge(2, 1),
    errors.MediaTypeMismatch("image/png", "text/html"),
    errors.MediaTypeNotAllowed("text/html", ("image/png",)),
    errors.DimensionsExceeded(2, 2, 1, None),
    errors.DurationExceeded(2, 1),
    errors.VersionConflict("", 1),
    errors.PreconditionRequired(1),
    errors.DigestMismatch(SHA, SHA),
    errors.PositionOutOfRange(1, 0),
    errors.RoleFull("cover", 1),
    errors.SlotTaken("cover", UUID(int=1)),
    errors.NotAPermutation([UUID(int=1)], []),
    errors.CursorExpired(),
]

DOCUMENT = build_document()
REGISTRY = Registry().with_resource("urn:document", DRAFT202012.create_resource(DOCUMENT))
TYPES = {found.__name__: found for found in DOCUMENTS}
QUERIES: dict[str, type[msgspec.Struct]] = {
    "get_events": EventQuery,
    "get_entity_refs": ListQuery,
    "get_role_refs": ListQuery,
    "get_media_list": MediaQuery,
    "post_ref": AttachFields,
    "get_workspace": operators.UseQuery,
}
BYTES = (BlobRoute(None), MediaRoute(None))
DELIVERY: tuple[Route, ...] = (*BYTES, *(PresetRoute(each, "thumb") for each in BYTES))

Content = dict[str, Any]


def operations() -> Iterator[tuple[str, str, Content]]:
    for path, item in DOCUMENT["paths"].items():
        for method in item.keys() & METHODS:
            yield method.upper(), path, item[method]


def resolved(node: Content) -> Content:
    while "$ref" in node:
        found: Content = DOCUMENT
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        node = found
    return node


def contents() -> Iterator[tuple[str, Content]]:
    """Every request and response body, by where it stands."""
    for method, path, operation in operations():
        places = {"request": operation.get("requestBody", {}), **operation["responses"]}
        for place, described in places.items():
            for media_type, content in resolved(described).get("content", {}).items():
                yield f"{method} {path} {place} {media_type}", content


def examples() -> Iterator[tuple[str, Content, Any]]:
    """Every example with its schema."""
    for where, content in contents():
        for name, example in content["examples"].items():
            yield f"{where} {name}", content["schema"], resolved(example)["value"]


def fields() -> Iterator[tuple[str, Content]]:
    """Every parameter and header."""
    for kind in ("parameters", "headers"):
        yield from DOCUMENT["components"][kind].items()
    for method, path, operation in operations():
        for parameter in operation["parameters"]:
            yield f"{method} {path}", resolved(parameter)


def fits(schema: Content, value: object) -> bool:
    absolute = json.loads(json.dumps(schema).replace('"#/', '"urn:document#/'))
    checker = Draft202012Validator.FORMAT_CHECKER
    return bool(Draft202012Validator(absolute, registry=REGISTRY, format_checker=checker).is_valid(value))


def test_it_is_a_valid_openapi_document() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    openapi_spec_validator.validate(DOCUMENT)


def test_its_operations_are_the_routes_of_the_service_and_no_others() -> None:
    routes = {(method, path) for method, path, _ in operations_by_route()}
    routes |= {(method, route.template) for route in DELIVERY for method in route.allow.split(", ")}
    documented = {(method, path) for method, path, _ in operations()}
    assert documented == {(method, path) for method, path in routes if method != "OPTIONS"}


def test_an_operation_is_named_after_its_handler() -> None:
    names = {handler.handler_name.rpartition(".")[2] for handler in HANDLERS}
    for each in ("blob", "media_file", "blob_preset", "media_preset"):
        names |= {f"get_{each}", f"head_{each}"}
    assert sorted(operation["operationId"] for _, _, operation in operations()) == sorted(names)


def test_every_problem_code_is_said_of_an_operation() -> None:
    said = {
        code
        for where, content in contents()
        if where.endswith("application/problem+json")
        for code in content["examples"]
    }
    assert said | {"method-not-allowed"} == set(PROBLEMS)
    assert problem_name("method-not-allowed") in DOCUMENT["components"]["responses"]


def test_a_response_documents_only_problems_of_its_status() -> None:
    for where, content in contents():
        if where.endswith("application/problem+json"):
            statuses = {int(PROBLEMS[code].status) for code in content["examples"]}
            assert [str(status) for status in statuses] == [where.split()[2]], where


def keywords(schema: Content) -> Iterator[str]:
    """Of a schema and those within."""
    for name, part in schema.items():
        yield name
        if name in {"properties", "patternProperties", "$defs"}:
            inner = list(part.values())
        elif name in {"allOf", "anyOf", "oneOf"}:
            inner = part
        else:
            inner = [part] if name in {"items", "additionalProperties", "not"} else []
        for each in inner:
            if isinstance(each, dict):
                yield from keywords(each)


def test_a_schema_has_no_keyword_that_says_nothing() -> None:
    known = {*Draft202012Validator.VALIDATORS, "title", "description", "default", "examples", "discriminator"}
    found = {(name, each) for name, schema in DOCUMENT["components"]["schemas"].items() for each in keywords(schema)}
    assert {pair for pair in found if pair[1] not in known} == set()


def test_every_request_and_response_has_an_example() -> None:
    assert [where for where, content in contents() if not content.get("examples")] == []
    assert [where for where, described in fields() if "example" not in described] == []


def test_every_example_fits_its_schema() -> None:
    assert [where for where, schema, value in examples() if not fits(schema, value)] == []
    assert [where for where, field in fields() if not fits(field["schema"], field["example"])] == []


def test_an_example_is_what_its_type_reads_and_writes() -> None:
    read = set()
    for where, schema, value in examples():
        name = schema.get("$ref", "").rpartition("/")[2]
        if name in TYPES:
            decoded = msgspec.json.decode(json.dumps(value), type=TYPES[name])
            written = json.loads(msgspec.json.encode(decoded))
            sent = value if "request" not in where else {**dict.fromkeys(written), **value}
            assert written == sent, where
            read.add(name)
    operations_of_batches = {name for name in TYPES if name.endswith("Operation")}
    assert read == TYPES.keys() - {"EventData"} - operations_of_batches  # which stand within others


def test_the_operations_of_a_batch_are_those_that_are_read() -> None:
    documented = DOCUMENT["components"]["schemas"]["BatchRequest"]["properties"]["operations"]["items"]["oneOf"]
    assert {choice["$ref"].rpartition("/")[2] for choice in documented} == {
        each.__name__ for each in get_args(Operation)
    }
    [examples] = [content["examples"] for where, content in contents() if where.startswith("POST /refs/batch request")]
    for example in examples.values():
        for operation in example["value"]["operations"]:
            assert fits({"$ref": f"#/components/schemas/{operation['op'].capitalize()}Operation"}, operation)
            msgspec.json.decode(json.dumps(operation), type=Operation)


@pytest.mark.parametrize("code", PROBLEMS)
def test_the_example_of_a_problem_is_what_the_service_sends(code: str) -> None:
    example = DOCUMENT["components"]["examples"][problem_name(code)]["value"]
    standard = {"type", "title", "status", "detail", "instance", "code", "retryable"}
    members = {name: value for name, value in example.items() if name not in standard}
    status, _, body = problem_answer(code, example["detail"], example["instance"], members)
    assert json.loads(body) == example
    assert status == example["status"]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: str(error.code))
def test_what_an_error_adds_to_its_problem_is_documented(error: errors.RefkeepError) -> None:
    own = DOCUMENT["components"]["schemas"][problem_name(error.code)]["allOf"][1]["properties"]
    assert error.members().keys() == own.keys() - {"type", "title", "status", "code", "retryable"}
    body = problem_answer(error.code, str(error), "/", error.members())[2]
    assert fits({"$ref": f"#/components/schemas/{problem_name(error.code)}"}, json.loads(body))


def test_every_error_with_members_is_among_the_samples() -> None:
    own = {found for found in vars(errors).values() if isinstance(found, type) and "members" in vars(found)}
    assert own == {type(error) for error in SAMPLES} | {errors.RefkeepError}


def test_query_parameters_are_those_that_are_read() -> None:
    documented = {
        operation["operationId"]: [
            found["name"] for parameter in operation["parameters"] if (found := resolved(parameter))["in"] == "query"
        ]
        for _, _, operation in operations()
    }
    read = {name: list(shape.__struct_fields__) for name, shape in QUERIES.items()}
    assert {name: members for name, members in documented.items() if members} == {
        **read,
        "get_media_list": [*read["get_media_list"], "ref_id"],  # which may come again
        "put_ref": [name for name in read["post_ref"] if name != "position"],
    }


def test_every_shape_of_a_query_is_among_them() -> None:
    members = [member for module in (media, feed, requests, operators) for member in vars(module).items()]
    shapes = {shape for name, shape in members if name.endswith("Query")}
    assert shapes == set(QUERIES.values()) - {AttachFields}


def test_the_limits_of_pages_are_those_that_hold() -> None:
    for _, _, operation in operations():
        for parameter in map(resolved, operation["parameters"]):
            if parameter["name"] == "limit":
                _, schemas = msgspec.json.schema_components([QUERIES[operation["operationId"]]])
                schema = schemas[QUERIES[operation["operationId"]].__name__]
                assert parameter["schema"] == schema["properties"]["limit"]


def test_the_file_is_what_this_release_serves_in_any_process() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "service", "openapi", "--check", FILE],
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        cwd=FILE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    assert yaml.load(FILE.read_text(), yaml.CSafeLoader) == DOCUMENT


def test_a_drift_is_told_and_fails(tmp_path: Path) -> None:
    other = tmp_path / "openapi.yaml"
    assert CliRunner().invoke(openapi, ["--output", str(other)]).exit_code == 0
    assert CliRunner().invoke(openapi, ["--check", str(other)]).exit_code == 0
    other.write_text(other.read_text().replace("operationId: put_ref", "operationId: set_ref"))
    drifted = CliRunner().invoke(openapi, ["--check", str(other)])
    assert drifted.exit_code == 1
    assert "-      operationId: set_ref" in drifted.output
    assert "+      operationId: put_ref" in drifted.output
    assert CliRunner().invoke(openapi, ["--check", str(tmp_path / "none.yaml")]).exit_code == 1
