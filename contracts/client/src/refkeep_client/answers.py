"""Answers: results, or the exceptions that problem documents are."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
import msgspec

from refkeep_client.problems import (
    BadRequest,
    BlobNotHeld,
    Conflict,
    CursorExpired,
    DigestMismatch,
    Forbidden,
    Gone,
    IdempotencyConflict,
    NotFound,
    OnHold,
    PreconditionRequired,
    Problem,
    ProblemDocument,
    QuotaExceeded,
    Rejected,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unexpected,
    VersionConflict,
)
from refkeep_client.retry import parse_retry_after

Shape = TypeVar("Shape")

NOT_NOW = frozenset({429, 502, 503, 504})
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises: `RecursionError` where arrays lie in arrays by the thousand."""
_STANDARD = {"type", "title", "status", "detail", "instance", "code", "retryable"}
_BY_CODE: dict[str, type[Problem]] = {
    "blob-not-held": BlobNotHeld,
    "cursor-expired": CursorExpired,
    "digest-mismatch": DigestMismatch,
    "idempotency-in-progress": IdempotencyConflict,
    "idempotency-key-reuse": IdempotencyConflict,
    "quota-exceeded": QuotaExceeded,
    "version-conflict": VersionConflict,
}
_BY_STATUS: dict[int, type[Problem]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    415: Rejected,
    422: Rejected,
    428: PreconditionRequired,
    451: OnHold,
    **dict.fromkeys(NOT_NOW, Unavailable),
}


def result_of(response: httpx.Response, shape: type[Shape]) -> Shape:
    """The result in a 2xx answer. Raises `Unexpected` where it is none."""
    return decoded(response.content, shape)


def decoded(document: bytes, shape: type[Shape]) -> Shape:
    """What a document says. Raises `Unexpected` where it is another one."""
    try:
        return msgspec.json.decode(document, type=shape)
    except _UNREADABLE as error:
        raise Unexpected(f"This is no {shape.__name__.lstrip('_')}: {error}") from error


def is_replayed(response: httpx.Response) -> bool:
    """Whether it is the stored answer to an earlier attempt."""
    return bool(response.headers.get("idempotent-replayed") == "true")


def problem_of(response: httpx.Response) -> Problem:
    """The problem that an answer tells, its body read; one of its own making where a proxy answered."""
    document = _document(response.status_code, response.content)
    kind = _BY_CODE.get(document.code) or _BY_STATUS.get(response.status_code) or Problem
    retry_after = parse_retry_after(response.headers.get("retry-after"), datetime.now(UTC))
    return kind(document, response.headers.get("x-request-id"), retry_after)


def _document(status: int, content: bytes) -> ProblemDocument:
    try:
        told = msgspec.json.decode(content, type=dict[str, Any])
        standard = {name: told[name] for name in _STANDARD - {"type"} if name in told}
        members = {name: value for name, value in told.items() if name not in _STANDARD}
        known = {"retryable": status in NOT_NOW, **standard, "status": status, "members": members}
        return msgspec.convert(known, ProblemDocument)
    except _UNREADABLE:
        return ProblemDocument(status=status, code=f"http-{status}", title=_phrase(status), retryable=status in NOT_NOW)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "An unknown status"
