"""A caller of the service: its key, the few calls that every test makes, and what a problem must look like."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.parts.vouching import vouch

PROBLEM_MEMBERS = {"type", "title", "status", "detail", "instance", "code", "retryable"}
RETRYABLE = {
    "request-timeout",
    "idempotency-in-progress",
    "unavailable",
    "storage-unavailable",
    "storage-full",
    "read-only",
}


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Caller:
    """`http` sends the key of a workspace with every request."""

    http: httpx.Client
    workspace: str
    token: str

    def upload(self, content: bytes) -> str:
        """Send bytes that must be taken; their hash."""
        sha256 = sha256_of(content)
        response = self.http.put(f"/blobs/{sha256}", content=content)
        assert response.status_code in {200, 201}, response.text
        return sha256

    def put(self, slot: str, content: bytes | str, headers: Mapping[str, str] | None = None, **members: Any) -> Any:
        """PUT of a slot `book/42/cover/0`: bytes with members in the query, or a hash with members in JSON."""
        return self._write("PUT", slot, content, headers, members)

    def post(self, role: str, content: bytes | str, headers: Mapping[str, str] | None = None, **members: Any) -> Any:
        """POST to a role `block/7/image`, as `put`."""
        return self._write("POST", role, content, headers, members)

    def delete(self, slot: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """DELETE of a slot."""
        return self.http.delete(f"/refs/{slot}", headers=headers)

    def refs(self, entity: str) -> list[Any]:
        """The live refs of an entity or a role."""
        response = self.http.get(f"/refs/{entity}")
        assert response.status_code == 200, response.text
        return list(response.json()["items"])

    def version(self, entity: str) -> str:
        """The entity's ETag."""
        return self.http.get(f"/refs/{entity}").headers["etag"]

    def events(self, **wanted: str) -> list[Any]:
        """All events of the workspace that fit the filter, each as its type's schema in contracts/ has it."""
        response = self.http.get("/events", params={"limit": "500", **wanted})
        assert response.status_code == 200, response.text
        events = list(response.json()["events"])
        for event in events:
            vouch(event)
        return events

    def _write(
        self, method: str, path: str, content: bytes | str, headers: Mapping[str, str] | None, members: dict[str, Any]
    ) -> httpx.Response:
        if isinstance(content, str):
            return self.http.request(method, f"/refs/{path}", json={"sha256": content, **members}, headers=headers)
        return self.http.request(method, f"/refs/{path}", content=content, params=members, headers=headers)


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """The problem document of a response (RFC 9457), which must be whole and of this status and code."""
    assert response.status_code == status, (response.status_code, response.text)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-request-id"]
    document: dict[str, Any] = response.json()
    assert document.keys() >= PROBLEM_MEMBERS
    assert (document["status"], document["code"]) == (status, code)
    assert document["type"] == f"urn:refkeep:problem:{code}"
    assert document["title"]
    assert document["detail"]
    assert document["retryable"] is (code in RETRYABLE)
    return document
