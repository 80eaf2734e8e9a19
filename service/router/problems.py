"""Errors as callers see them: RFC 9457 problem documents, one table from code to status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """What a code means over HTTP; `retryable` says that the same request may succeed later."""

    status: HTTPStatus
    title: str
    retryable: bool = False


PROBLEMS = {
    "bad-request": Problem(HTTPStatus.BAD_REQUEST, "The request is malformed"),
    "bad-hash": Problem(HTTPStatus.BAD_REQUEST, "Not a SHA-256 in lower-case hex"),
    "bad-cursor": Problem(HTTPStatus.BAD_REQUEST, "Not a cursor of this service"),
    "client-aborted": Problem(HTTPStatus.BAD_REQUEST, "The body ended early"),
    "workspace-required": Problem(HTTPStatus.BAD_REQUEST, "Name a workspace in the Workspace header"),
    "unauthorized": Problem(HTTPStatus.UNAUTHORIZED, "Send a valid API key: Authorization: Bearer rk_…"),
    "forbidden": Problem(HTTPStatus.FORBIDDEN, "Not allowed for this key"),
    "not-found": Problem(HTTPStatus.NOT_FOUND, "Nothing is here"),
    "method-not-allowed": Problem(HTTPStatus.METHOD_NOT_ALLOWED, "Method not allowed"),
    "request-timeout": Problem(HTTPStatus.REQUEST_TIMEOUT, "The body came too slowly", retryable=True),
    "blob-in-use": Problem(HTTPStatus.CONFLICT, "Refs need this blob"),
    "role-full": Problem(HTTPStatus.CONFLICT, "The role is full"),
    "slot-taken": Problem(HTTPStatus.CONFLICT, "The slot is taken"),
    "not-trashed": Problem(HTTPStatus.CONFLICT, "Not in the trash"),
    "in-trash": Problem(HTTPStatus.CONFLICT, "In the trash"),
    "idempotency-in-progress": Problem(HTTPStatus.CONFLICT, "The first request still runs", retryable=True),
    "cursor-expired": Problem(HTTPStatus.GONE, "These events were dropped"),
    "gone": Problem(HTTPStatus.GONE, "Purged"),
    "version-conflict": Problem(HTTPStatus.PRECONDITION_FAILED, "The entity has changed"),
    "precondition-failed": Problem(HTTPStatus.PRECONDITION_FAILED, "A precondition failed"),
    "too-large": Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Too large"),
    "media-type-mismatch": Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The bytes are not what they are said to be"),
    "media-type-not-allowed": Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Media type not allowed here"),
    "range-not-satisfiable": Problem(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "Range not satisfiable"),
    "digest-mismatch": Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The bytes hash to another name"),
    "idempotency-key-reuse": Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Idempotency-Key used before"),
    "policy-unknown": Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "No policy for this role"),
    "visibility-not-allowed": Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Visibility not allowed here"),
    "blob-not-held": Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Send the bytes first"),
    "position-out-of-range": Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Position out of range"),
    "not-a-permutation": Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Not a permutation of the live refs"),
    "dimensions-exceeded": Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Too many pixels"),
    "duration-exceeded": Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Too long"),
    "unreadable-media": Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Truncated or corrupt"),
    "precondition-required": Problem(HTTPStatus.PRECONDITION_REQUIRED, "Send If-Match with the entity's ETag"),
    "on-hold": Problem(HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS, "On hold"),
    "internal": Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something broke here"),
    "blob-missing": Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The bytes are missing from the store"),
    "unavailable": Problem(HTTPStatus.SERVICE_UNAVAILABLE, "Not available now", retryable=True),
    "signing-disabled": Problem(HTTPStatus.SERVICE_UNAVAILABLE, "No URLs are signed here"),
    "read-only": Problem(HTTPStatus.SERVICE_UNAVAILABLE, "No writes for now", retryable=True),
    "storage-unavailable": Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The store does not answer", retryable=True),
    "quota-exceeded": Problem(HTTPStatus.INSUFFICIENT_STORAGE, "The workspace's quota is used up"),
    "storage-full": Problem(HTTPStatus.INSUFFICIENT_STORAGE, "The store is full", retryable=True),
}

Headers = list[tuple[bytes, bytes]]


def instance_of(scope: Mapping[str, Any]) -> str:
    """The `instance` of a problem: the path of an ASGI scope as it was sent, a URI reference (RFC 9457 §3.1.5)."""
    raw_path: bytes = scope.get("raw_path") or b"/"
    return quote(raw_path, safe="/%:@!$&'()*+,;=-._~")


def problem_answer(
    code: str, detail: str, instance: str, members: dict[str, object] | None = None
) -> tuple[int, Headers, bytes]:
    """Status, headers and body of a problem; `members` are facts beside the standard ones and never replace them."""
    problem = PROBLEMS[code]
    document = {
        **(members or {}),
        "type": f"urn:refkeep:problem:{code}",
        "title": problem.title,
        "status": int(problem.status),
        "detail": detail,
        "instance": instance,
        "code": code,
        "retryable": problem.retryable,
    }
    body = msgspec.json.encode(document)
    return int(problem.status), _headers(code, problem, body), body


def _headers(code: str, problem: Problem, body: bytes) -> Headers:
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if problem.retryable:
        headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
    if code == "unauthorized":
        headers.append((b"www-authenticate", b'Bearer realm="refkeep"'))
    return headers
