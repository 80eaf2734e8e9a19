"""Documents to responses; an answer that may have to be repeated is a value first."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from litestar import Response

from service.ports.idempotency import Outcome, Replay

JSON = "application/json"


class Answer(msgspec.Struct, frozen=True):
    """Status, headers and body of a success: what an Idempotency-Key stores."""

    status: int
    headers: dict[str, str]
    body: bytes


def answer(status: int, document: object, headers: dict[str, str] | None = None) -> Answer:
    """A document as JSON; None is an empty body."""
    body = b"" if document is None else msgspec.json.encode(document)
    return Answer(status, headers or {}, body)


def respond(value: Answer, *, replayed: bool = False) -> Response[bytes]:
    """The response to send. No answer of the API is ever cached."""
    headers = {"cache-control": "no-store", **value.headers}
    if replayed:
        headers["idempotent-replayed"] = "true"
    media_type = JSON if value.body else None
    return Response(value.body, status_code=value.status, headers=headers, media_type=media_type)


def respond_to(outcome: Outcome | Replay, present: Callable[[Outcome], Answer]) -> Response[bytes]:
    """The response to a fresh outcome, or to a request that was answered before."""
    if isinstance(outcome, Replay):
        return respond(msgspec.json.decode(outcome.answer, type=Answer), replayed=True)
    return respond(present(outcome))


def stored(present: Callable[[Outcome], Answer]) -> Callable[[Outcome], bytes]:
    """How a claim renders an outcome, for `respond_to` to read again."""
    return lambda outcome: msgspec.json.encode(present(outcome))
