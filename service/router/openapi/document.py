"""The OpenAPI document: what api.yaml and problems.yaml say, completed by what the code knows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any

import msgspec
import yaml

from service.router.openapi.components import (
    REF,
    Json,
    document_schemas,
    problem_examples,
    problem_name,
    problem_response,
    problem_schemas,
)
from service.router.problems import PROBLEMS

_HERE = files("service.router.openapi")
_METHODS = ("get", "head", "post", "put", "patch", "delete")
_SOURCE_ONLY = ("groups", "parts")


def build_document() -> Json:
    """The whole document, the same at every call. Raises `ValueError` where the sources and the code disagree."""
    source, texts = _load("api.yaml"), _load("problems.yaml")
    if untold := PROBLEMS.keys() ^ texts.keys():
        raise ValueError(f"Not in both problems.py and problems.yaml: {', '.join(sorted(untold))}.")
    components = source["components"]
    generated = {**document_schemas(), **problem_schemas(texts)}
    components["schemas"] = dict(sorted(_merged(generated, components["schemas"]).items()))
    components["examples"] |= problem_examples(texts)
    shared: dict[str, Json] = {}
    _refusals(source["groups"]["anywhere"], texts, shared)
    for method, operation in _operations(source["paths"]):
        codes = _codes(operation.pop("problems"), source["groups"])
        answers = {status: _answered(response) for status, response in operation["responses"].items()}
        refusals = _refusals(codes, texts, shared, has_body=method != "head")
        operation["responses"] = dict(sorted((answers | refusals).items()))
        operation["parameters"] = [*operation.get("parameters", []), {"$ref": REF.format("parameters", "RequestId")}]
    components["responses"] = dict(sorted(shared.items()))
    return {name: part for name, part in source.items() if name not in _SOURCE_ONLY}


@cache
def document_json() -> bytes:
    """The document as it is served."""
    return msgspec.json.encode(build_document())


def document_yaml() -> str:
    """The document as openapi.yaml has it."""
    return yaml.dump(build_document(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)


class _Plain(yaml.CSafeDumper):
    """Writes everything where it stands, long texts as lines."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - what is shared in memory is repeated in the file
        return True


def _write_text(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _write_text)


def _load(name: str) -> Json:
    loaded: Json = yaml.load(_HERE.joinpath(name).read_bytes(), yaml.CSafeLoader)
    return loaded


def _operations(paths: dict[str, Json]) -> Iterator[tuple[str, Json]]:
    return ((method, item[method]) for item in paths.values() for method in _METHODS if method in item)


def _codes(names: list[str], groups: dict[str, list[str]]) -> list[str]:
    """All codes of an operation, groups resolved, each once, in the order of the table."""
    wanted = {code for name in names for code in groups.get(name, [name])}
    if unknown := wanted - PROBLEMS.keys():
        raise ValueError(f"No such problem or group: {', '.join(sorted(unknown))}.")
    return [code for code in PROBLEMS if code in wanted]


def _refusals(codes: list[str], texts: dict[str, Json], shared: dict[str, Json], *, has_body: bool = True) -> Json:
    """A response for each status of `codes`; those of one code are all alike and go to `shared`."""
    by_status: dict[HTTPStatus, list[str]] = {}
    for code in codes:
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    refusals: Json = {}
    for status, named in by_status.items():
        response = _answered(problem_response(status, named, texts, has_body=has_body))
        if len(named) == 1 and has_body:
            name = problem_name(named[0])
            shared[name] = response
            response = {"$ref": REF.format("responses", name)}
        refusals[str(int(status))] = response
    return refusals


def _answered(response: Json) -> Json:
    """The response with the request's id among its headers."""
    headers = {"X-Request-ID": {"$ref": REF.format("headers", "RequestId")}} | response.get("headers", {})
    return {"description": response["description"], "headers": headers} | {
        name: part for name, part in response.items() if name not in {"description", "headers"}
    }


def _merged(generated: Json, written: Json) -> Json:
    """Both, member by member; what is written wins."""
    merged = dict(generated)
    for name, part in written.items():
        before = merged.get(name)
        merged[name] = _merged(before, part) if isinstance(before, dict) and isinstance(part, dict) else part
    return merged
