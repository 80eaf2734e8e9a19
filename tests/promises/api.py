"""Two OpenAPI documents compared: what callers could call and read before, and what they can now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.promises.changes import Change, Json, Side, added, removed
from tests.promises.schemas import Schemas

_METHODS = ("get", "head", "put", "post", "delete", "patch", "options", "trace")


def compare_apis(old: Json, new: Json) -> Iterator[Change]:
    """Every difference that a caller could notice."""
    before, after = _operations(old), _operations(new)
    yield from removed("operation", "request", before, after, "")
    yield from added("operation", "request", before, after, "")
    apis = _Apis(old, new)
    for name in before.keys() & after.keys():
        yield from apis.operation(before[name], after[name], name)


@dataclass(frozen=True, slots=True)
class _Apis:
    old: Json
    new: Json

    def operation(self, old: Json, new: Json, where: str) -> Iterator[Change]:
        if old["operationId"] != new["operationId"]:
            yield Change("name-changed", "request", where, f"{old['operationId']} became {new['operationId']}")
        yield from _access(old.get("security", []), new.get("security", []), where)
        yield from self._parameters(old["parameters"], new["parameters"], where)
        yield from self._body(old.get("requestBody"), new.get("requestBody"), f"{where} body")
        yield from self._answers(old["responses"], new["responses"], where)

    def _parameters(self, old: list[Json], new: list[Json], where: str) -> Iterator[Change]:
        before, after = _by_place(self.old, old), _by_place(self.new, new)
        yield from removed("parameter", "request", before, after, where)
        yield from added("parameter", "request", before, after, where)
        for name, parameter in after.items():
            was = before.get(name, {})
            if parameter.get("required") and not was.get("required"):
                yield Change("parameter-demanded", "request", f"{where} {name}", "is required now")
            if was:
                yield from self._schemas("request", was, parameter, f"{where} {name}")

    def _body(self, old: Json, new: Json, where: str) -> Iterator[Change]:
        if new is None:
            yield from [Change("body-removed", "request", where, "is refused now")] if old is not None else []
            return
        before, after = _resolved(self.old, old or {}), _resolved(self.new, new)
        if after.get("required") and not before.get("required"):
            yield Change("body-demanded", "request", where, "is required now")
        yield from self._contents("request", before.get("content", {}), after["content"], where)

    def _answers(self, old: dict[str, Json], new: dict[str, Json], where: str) -> Iterator[Change]:
        yield from removed("status", "answer", old, new, where)
        for status in new.keys() - old.keys():
            rule = "success-added" if status < "4" else "refusal-added"
            yield Change(rule, "answer", f"{where} {status}", "is new")
        for status in old.keys() & new.keys():
            before, after = _resolved(self.old, old[status]), _resolved(self.new, new[status])
            yield from self._headers(before.get("headers", {}), after.get("headers", {}), f"{where} {status}")
            yield from self._contents(
                "answer", before.get("content", {}), after.get("content", {}), f"{where} {status}"
            )
            yield from _links(before.get("links", {}), after.get("links", {}), f"{where} {status}")

    def _headers(self, old: dict[str, Json], new: dict[str, Json], where: str) -> Iterator[Change]:
        before = {name: _resolved(self.old, header) for name, header in old.items()}
        after = {name: _resolved(self.new, header) for name, header in new.items()}
        yield from removed("header", "answer", before, after, where)
        yield from added("header", "answer", before, after, where)
        for name in before.keys() & after.keys():
            if before[name].get("required") and not after[name].get("required"):
                yield Change("header-optional", "answer", f"{where} {name}", "may be absent now")
            yield from self._schemas("answer", before[name], after[name], f"{where} {name}")

    def _contents(self, side: Side, old: dict[str, Json], new: dict[str, Json], where: str) -> Iterator[Change]:
        yield from removed("media-type", side, old, new, where)
        yield from added("media-type", side, old, new, where)
        for media_type in old.keys() & new.keys():
            yield from self._schemas(side, old[media_type], new[media_type], f"{where} {media_type}")

    def _schemas(self, side: Side, old: Json, new: Json, where: str) -> Iterator[Change]:
        return Schemas(self.old, self.new, side).compare(old.get("schema", True), new.get("schema", True), where)


def _operations(document: Json) -> dict[str, Json]:
    """All operations by method and path, the parameters of their paths and the common security among their own."""
    return {
        f"{method.upper()} {path}": {
            "security": document.get("security", []),
            **item[method],
            "parameters": [*item.get("parameters", []), *item[method].get("parameters", [])],
        }
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item
    }


def _resolved(document: Json, node: Json) -> Json:
    while "$ref" in node:
        found = document
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        node = found
    return node


def _by_place(document: Json, parameters: list[Json]) -> dict[str, Json]:
    found = [_resolved(document, parameter) for parameter in parameters]
    return {f"{parameter['in']} {parameter['name']}": parameter for parameter in found}


def _access(old: list[Json], new: list[Json], where: str) -> Iterator[Change]:
    """Each way in is a set of schemes with their scopes; no way at all is open to everyone."""
    before, after = old or [{}], new or [{}]
    if any(not any(_opens(way, other) for other in after) for way in before):
        yield Change("access-narrowed", "request", where, f"{old} became {new}")
    if any(not any(_opens(way, other) for other in before) for way in after):
        yield Change("access-widened", "request", where, f"{old} became {new}")


def _opens(credentials: dict[str, list[str]], way: dict[str, list[str]]) -> bool:
    """Whether who has what one way demands may go another way, too."""
    return all(
        set(scopes) <= set(credentials.get(scheme, [])) and scheme in credentials for scheme, scopes in way.items()
    )


def _links(old: dict[str, Json], new: dict[str, Json], where: str) -> Iterator[Change]:
    yield from removed("link", "answer", old, new, where)
    yield from added("link", "answer", old, new, where)
    for name in old.keys() & new.keys():
        if old[name]["operationId"] != new[name]["operationId"]:
            yield Change("link-changed", "answer", f"{where} {name}", f"leads to {new[name]['operationId']} now")
