"""Request bodies as streams: bounded in size, patient up to a point, never joined unless they are small."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import new
from typing import ClassVar, TypeVar

import anyio
import msgspec

from service.domain.errors import BadRequest, DigestMismatch, RefkeepError, TooLarge

Receive = Callable[[], Awaitable[Mapping[str, object]]]
"""What an ASGI server gives an application to read its request with."""

JSON_LIMIT = 1 << 20

_T = TypeVar("_T")
_CONTENT_LENGTH = re.compile(r"[0-9]{1,18}")


class ClientAborted(RefkeepError):
    """The client went away, or its body ended before the length it declared: nobody is left to answer."""

    code: ClassVar[str] = "client-aborted"
    outcome: ClassVar[str] = "client_aborted"

    def __init__(self, received: int) -> None:
        super().__init__(f"The client went away after {received} bytes.")


class RequestTimeout(RefkeepError):
    """The body came too slowly, or stopped coming."""

    code: ClassVar[str] = "request-timeout"

    def __init__(self, received: int) -> None:
        super().__init__(f"The body came too slowly: {received} bytes so far.")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a body may keep its reader waiting.

    The reader has `seconds` of waiting to give away. Waiting spends them, each byte that arrives earns 1 / `rate` of
    a second back, never above `seconds`. So a silent client is cut after `seconds`, one that sends less than `rate`
    bytes a second soon after, and a fast start saves up nothing. Only waiting counts: a slow store costs nothing.
    """

    seconds: float = 30.0
    rate: float = 1024.0

    def after(self, left: float, waited: float, received: int) -> float:
        """Return the seconds left once `received` bytes have come after a wait of `waited` seconds."""
        return min(self.seconds, left - waited + received / self.rate)


PATIENCE = Patience()


def parse_content_length(value: str | None) -> int | None:
    """Return the declared length in bytes, None when the body is chunked; raise `BadRequest` when it is no number."""
    if value is None:
        return None
    if _CONTENT_LENGTH.fullmatch(value) is None:
        raise BadRequest("Content-Length is no number.")
    return int(value)


async def body_chunks(
    receive: Receive, *, limit: int, declared: int | None = None, patience: Patience = PATIENCE
) -> AsyncIterator[bytes]:
    """Yield the body's non-empty chunks as they arrive; the next is asked for once this one has been dealt with.

    `declared` is the Content-Length in bytes, None when the body is chunked. Raises `TooLarge` before reading anything
    when `declared` exceeds `limit`, else as soon as more than `limit` bytes have come; `ClientAborted` when the client
    goes away or ends short of `declared`: a cut body never looks complete; `RequestTimeout` when `patience` ends.
    """
    if declared is not None and declared > limit:
        raise TooLarge(declared, limit)
    received, left, more = 0, patience.seconds, True
    while more:
        started = anyio.current_time()
        chunk, more = await _next_chunk(receive, left, received)
        received += len(chunk)
        left = patience.after(left, anyio.current_time() - started, len(chunk))
        if received > limit:
            raise TooLarge(None, limit)
        if not more and received < (declared or 0):
            raise ClientAborted(received)
        if chunk:
            yield chunk


async def verified(chunks: AsyncIterator[bytes], promised: Mapping[str, bytes]) -> AsyncIterator[bytes]:
    """The same chunks; raises `DigestMismatch` at their end unless each digest that is promised is theirs.

    `promised` are digests by the names of RFC 9530: `sha-256`, `sha-512`.
    """
    running = {name: new(name.replace("-", "")) for name in promised}
    async for chunk in chunks:
        for digest in running.values():
            digest.update(chunk)
        yield chunk
    for name, digest in running.items():
        if digest.digest() != promised[name]:
            raise DigestMismatch(promised[name].hex(), digest.hexdigest())


async def read_json(
    receive: Receive,
    shape: type[_T],
    *,
    declared: int | None = None,
    limit: int = JSON_LIMIT,
    patience: Patience = PATIENCE,
    empty: _T | None = None,
) -> _T:
    """Read a small body and return it as a `shape`, an absent one as `empty` where that is given.

    Raises `BadRequest` with the reason when it is no such JSON.
    """
    body = b"".join([chunk async for chunk in body_chunks(receive, limit=limit, declared=declared, patience=patience)])
    if empty is not None and not body:
        return empty
    with only_good_json():
        return msgspec.json.decode(body, type=shape)


@contextmanager
def only_good_json() -> Iterator[None]:
    """Turn what msgspec says of a text into `BadRequest`, with the reason."""
    try:
        yield
    except msgspec.ValidationError as error:
        raise BadRequest(f"{error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body is no JSON: {error}.") from error
    except RecursionError as error:
        raise BadRequest("The body is nested too deeply.") from error


async def _next_chunk(receive: Receive, seconds: float, received: int) -> tuple[bytes, bool]:
    message: Mapping[str, object] = {}
    with anyio.move_on_after(max(seconds, 0)) as scope:
        message = await receive()
    if scope.cancelled_caught:
        raise RequestTimeout(received)
    if message["type"] == "http.disconnect":
        raise ClientAborted(received)
    chunk = message.get("body", b"")
    return chunk if isinstance(chunk, bytes) else b"", bool(message.get("more_body", False))
