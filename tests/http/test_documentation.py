"""The service's own description: served as it is written, readable with no network, with examples that work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.parts.caller import Caller, problem
from tests.parts.service import Refkeep

FILE = Path(__file__).parents[2] / "openapi.yaml"
DOCUMENT: dict[str, Any] = yaml.load(FILE.read_text(), yaml.CSafeLoader)
PATH_PARAMETERS = {
    parameter["name"]: parameter["example"]
    for parameter in DOCUMENT["components"]["parameters"].values()
    if parameter["in"] == "path"
}


OF_REFS = {
    "/refs/batch",
    "/refs/{entity_type}/{entity_id}/{role}/order",
    "/media/{ref_id}",
    "/media/{ref_id}/restore",
    "/media/{ref_id}/sign",
    "/media/sign",
}


class Addresses(HTMLParser):
    """Everything that a page may fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, _tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attributes if name in {"src", "href", "apidescriptionurl"}]


def request_examples(about: str) -> Iterator[tuple[str, str, str, Any]]:
    """Method, path, media type and body of every documented request, in the document's order.

    `about` is "operators" for what only they may ask, "refs" for what names refs that must be there, else "new".
    """
    for template, item in DOCUMENT["paths"].items():
        for method in ("post", "put", "patch"):
            of_operators = item.get(method, {}).get("tags") == ["Operators"]
            if about != ("refs" if template in OF_REFS else "operators" if of_operators else "new"):
                continue
            contents = item.get(method, {}).get("requestBody", {}).get("content", {})
            for media_type, content in contents.items():
                for example in content["examples"].values():
                    value = example.get("value", DOCUMENT["components"]["examples"]["text"]["value"])
                    yield method, template.format(**PATH_PARAMETERS), media_type, value


def send(http: httpx.Client, method: str, path: str, media_type: str, value: Any) -> httpx.Response:
    match media_type:
        case "application/json" | "application/merge-patch+json":
            return http.request(method, path, json=value)
        case "multipart/form-data":
            fields = {name: text for name, text in value.items() if name != "file"}
            return http.request(method, path, data=fields, files={"file": ("hello.txt", value["file"])})
        case _:
            return http.request(method, path, content=value, headers={"content-type": "text/plain"})


def test_every_documented_request_succeeds_in_a_new_workspace(acme: Caller) -> None:
    tried = 0
    for method, path, media_type, value in request_examples("new"):
        response = send(acme.http, method, path, media_type, value)
        assert response.status_code in {200, 201}, (method, path, media_type, response.text)
        tried += 1
    assert tried >= 10


def test_every_documented_request_of_operators_succeeds(service: Refkeep) -> None:
    operator = service.bearer(service.key(None, "operator"))
    answers = [send(operator.http, *example) for example in request_examples("operators")]
    operator.http.delete(f"/holds/{PATH_PARAMETERS['sha256']}")
    assert {response.status_code for response in answers} <= {200, 201}
    assert len(answers) >= 3


def test_every_documented_request_about_refs_succeeds_once_they_are_there(acme: Caller) -> None:
    examples = [PATH_PARAMETERS["ref_id"], "0199a1b2-9e5f-7a6b-8c7d-8e9f0a1b2c3d"]
    made = [acme.post("document/7/file", content).json()["ref"]["ref_id"] for content in (b"Hello, Refkeep.\n", b"two")]

    def real(text: str) -> str:
        for example, ref_id in zip(examples, made, strict=True):
            text = text.replace(example, ref_id)
        return text

    tried = 0
    for method, path, media_type, value in request_examples("refs"):
        if path.endswith("/restore"):
            assert acme.http.delete(real(path.removesuffix("/restore"))).status_code == 200
        headers = {"if-match": acme.version("document/7")} if path.endswith("/order") else {}
        body = real(json.dumps(value))
        response = acme.http.request(method, real(path), content=body, headers={**headers, "content-type": media_type})
        assert response.status_code == 200, (method, path, media_type, response.text)
        tried += 1
    assert tried == 7


def test_the_document_is_served_as_it_is_written(anyone: Caller) -> None:
    response = anyone.http.get("/openapi.json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == DOCUMENT


def test_the_page_needs_no_other_server(anyone: Caller) -> None:
    page = anyone.http.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    addresses = Addresses()
    addresses.feed(page.text)
    fetched = {address for address in addresses.found if not address.startswith("data:")}
    assert len(fetched) == 3
    for address in fetched:
        assert address.startswith("/"), address
        assert anyone.http.get(address).status_code == 200, address
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert not any(scheme in policy for scheme in ("http:", "https:", "*"))


@pytest.mark.parametrize(
    "asset", ["scalar-api-reference.js", "favicon.ico", "__init__.py", "%2e%2e", "..%2f__init__.py"]
)
def test_the_page_brings_no_file_beside_the_two_it_needs(anyone: Caller, asset: str) -> None:
    problem(anyone.http.get(f"/docs/{asset}"), 404, "not-found")


@pytest.mark.parametrize("path", [path for path in DOCUMENT["paths"] if not path.startswith("/docs/")])
def test_a_path_allows_what_it_documents(anyone: Caller, path: str) -> None:
    methods = {method.upper() for method in DOCUMENT["paths"][path] if method != "parameters"}
    methods |= {"HEAD"} if "GET" in methods else set()
    address = path.format(**PATH_PARAMETERS)
    for response in (anyone.http.options(address), anyone.http.request("TRACE", address)):
        assert set(response.headers["allow"].split(", ")) == methods | {"OPTIONS"}, response
