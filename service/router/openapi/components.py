"""The generated components: schemas of every document that goes over the wire, and the problems with their examples."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from service.router.problems import PROBLEMS, Problem
from service.schemas.batch import (
    AppendOperation,
    BatchRequest,
    BatchResult,
    OrderOperation,
    PatchOperation,
    PutOperation,
    ReleaseOperation,
    RestoreOperation,
)
from service.schemas.events import EventData
from service.schemas.feed import EventPage
from service.schemas.media import (
    BlobMeta,
    BlobResult,
    MediaList,
    RefDocument,
    RefList,
    RefResult,
    SignedUrl,
    SignedUrlList,
)
from service.schemas.operators import HoldDocument, HoldRequest, Quota, ReasonsDocument, WorkspaceDocument
from service.schemas.policies import PolicyDocument
from service.schemas.requests import (
    AttachFields,
    AttachRequest,
    MissingRequest,
    MissingResult,
    OrderRequest,
    RestoreRequest,
    RevisionRequest,
    SignListRequest,
    SignRequest,
)

Json = dict[str, Any]

REF = "#/components/{}/{}"
DOCUMENTS = (
    AppendOperation,
    AttachRequest,
    BatchRequest,
    BatchResult,
    BlobMeta,
    BlobResult,
    EventData,
    EventPage,
    HoldDocument,
    HoldRequest,
    MediaList,
    MissingRequest,
    MissingResult,
    OrderOperation,
    OrderRequest,
    PatchOperation,
    PolicyDocument,
    PutOperation,
    Quota,
    ReasonsDocument,
    RefDocument,
    RefList,
    RefResult,
    ReleaseOperation,
    RestoreOperation,
    RestoreRequest,
    RevisionRequest,
    SignedUrl,
    SignedUrlList,
    SignListRequest,
    SignRequest,
    WorkspaceDocument,
)
_PROBLEM: Json = {
    "type": "object",
    "description": "An RFC 9457 problem. `code` says what it is, `detail` says it to a person.",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The path of the request."},
        "code": {"type": "string"},
        "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
        "index": {"type": "integer", "description": "In a batch, which operation met it, counted from 0."},
    },
    "required": ["type", "title", "status", "detail", "instance", "code", "retryable"],
}


def document_schemas() -> dict[str, Json]:
    """Schemas of all documents and what they are made of, by the names of their types, sorted."""
    _, schemas = msgspec.json.schema_components(DOCUMENTS, ref_template=REF.format("schemas", "{name}"))
    return {"UploadForm": _upload_form(), **schemas}


def problem_name(code: str) -> str:
    """The schema and the example of a code: `too-large` → `TooLargeProblem`."""
    return "".join(word.capitalize() for word in code.split("-")) + "Problem"


def problem_schemas(texts: dict[str, Json]) -> dict[str, Json]:
    """A schema of each problem, and the one they share; `texts` by code, as in problems.yaml."""
    return {
        "Problem": _PROBLEM,
        **{problem_name(code): _problem_schema(code, problem, texts[code]) for code, problem in PROBLEMS.items()},
    }


def problem_examples(texts: dict[str, Json]) -> dict[str, Json]:
    """An example of each problem."""
    return {
        problem_name(code): {
            "summary": problem.title,
            "value": {**_fixed(code, problem), **texts[code]["example"]},
        }
        for code, problem in PROBLEMS.items()
    }


def problem_response(status: HTTPStatus, codes: list[str], texts: dict[str, Json], *, has_body: bool) -> Json:
    """The response that tells of any of `codes`, which all have this status."""
    schemas = [{"$ref": REF.format("schemas", problem_name(code))} for code in codes]
    examples = {code: {"$ref": REF.format("examples", problem_name(code))} for code in codes}
    response: Json = {"description": "\n".join(f"- `{code}`: {texts[code]['text']}" for code in codes)}
    headers = _problem_headers(status, codes)
    if headers:
        response["headers"] = {name: {"$ref": REF.format("headers", header)} for name, header in headers.items()}
    if has_body:
        schema = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
        response["content"] = {"application/problem+json": {"schema": schema, "examples": examples}}
    return response


def _problem_headers(status: HTTPStatus, codes: list[str]) -> dict[str, str]:
    headers = {
        HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "WwwAuthenticate"},
        HTTPStatus.METHOD_NOT_ALLOWED: {"Allow": "Allow"},
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: {"Content-Range": "UnsatisfiedRange"},
    }.get(status, {})
    return {**headers, "Retry-After": "RetryAfter"} if all(PROBLEMS[code].retryable for code in codes) else headers


def _problem_schema(code: str, problem: Problem, text: Json) -> Json:
    members = text.get("members", {})
    constants = {name: {"const": value} for name, value in _fixed(code, problem).items()}
    own: Json = {"type": "object", "properties": {**constants, **members}}
    if members and not text.get("optional", False):
        own["required"] = list(members)
    return {"description": text["text"], "allOf": [{"$ref": REF.format("schemas", "Problem")}, own]}


def _fixed(code: str, problem: Problem) -> Json:
    return {
        "type": f"urn:refkeep:problem:{code}",
        "title": problem.title,
        "status": int(problem.status),
        "code": code,
        "retryable": problem.retryable,
    }


def _upload_form() -> Json:
    """The members that go with bytes, as texts beside them: none of them can be null there."""
    _, schemas = msgspec.json.schema_components([AttachFields], ref_template=REF.format("schemas", "{name}"))
    schema = schemas["AttachFields"]
    file = {"type": "string", "format": "binary", "description": "The bytes; nothing may stand after them."}
    return {
        "type": "object",
        "description": schema["description"],
        "properties": {**{name: _present(member) for name, member in schema["properties"].items()}, "file": file},
        "required": ["file"],
        "additionalProperties": False,
    }


def _present(member: Json) -> Json:
    [schema] = [choice for choice in member["anyOf"] if choice != {"type": "null"}]
    return dict(schema)
