"""contracts/problems.json: every problem code with its status, its members, and the operations that may answer it."""

from __future__ import annotations

from service.router.openapi.components import problem_name
from service.router.problems import PROBLEMS
from tests.promises.changes import Json

_METHODS = ("get", "head", "put", "post", "delete", "patch")
_ANYWHERE = "method-not-allowed"


def problem_table(document: Json) -> dict[str, Json]:
    """The table by code, from an OpenAPI document and the service's own list of codes."""
    answers = [*_answers(document)]
    return {code: _entry(document, code, [name for name, codes in answers if code in codes]) for code in PROBLEMS}


def _entry(document: Json, code: str, operations: list[str]) -> Json:
    problem, schema = PROBLEMS[code], document["components"]["schemas"][problem_name(code)]
    own = schema["allOf"][1]
    members = {name: part for name, part in own["properties"].items() if "const" not in part}
    return {
        "status": int(problem.status),
        "title": problem.title,
        "retryable": problem.retryable,
        "text": schema["description"],
        "members": members,
        "always": own.get("required", []),
        "operations": ["*"] if code == _ANYWHERE else operations,
        "example": document["components"]["examples"][problem_name(code)]["value"],
    }


def _answers(document: Json) -> list[tuple[str, set[str]]]:
    """The codes that each operation may answer."""
    return [
        (f"{method.upper()} {path}", _codes(document, item[method]["responses"]))
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item
    ]


def _codes(document: Json, responses: dict[str, Json]) -> set[str]:
    """A response tells its codes by its examples; those of HEAD, which have no body, by their description."""
    found: set[str] = set()
    for response in responses.values():
        told = response
        if "$ref" in response:
            told = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
        content = told.get("content", {}).get("application/problem+json", {})
        found |= content.get("examples", {}).keys()
        found |= {code for code in PROBLEMS if f"- `{code}`:" in told["description"]}
    return found
