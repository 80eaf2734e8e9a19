"""Attempts: requests that go out, answers that come back, and what is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from time import monotonic
from typing import TypeVar

import httpx
import msgspec

from refkeep_client.answers import is_replayed, problem_of, result_of
from refkeep_client.calls import Call
from refkeep_client.problems import (
    NotRewindable,
    Problem,
    ProblemDocument,
    RefkeepError,
    TooLarge,
    Unavailable,
    Unexpected,
    Unreachable,
)
from refkeep_client.results import Attached, Changed, Policy, Sent
from refkeep_client.retry import NO_RETRY, Retry

Shape = TypeVar("Shape")
Written = TypeVar("Written", Attached, Changed, Sent)

_NEVER_ARRIVED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_ABOUT_THE_BODY = {"content-length", "content-type", "content-digest", "idempotency-key", "if-match", "if-none-match"}
_TAKEN_IN_ANY_CASE = 64 * 1024
"""Bytes that the service takes in before it answers, so that its refusal is heard."""
_IN_PROGRESS = "idempotency-in-progress"


def may_help(error: RefkeepError) -> bool:
    """Whether the same call may succeed later. All calls may be repeated: they change nothing, or carry a key."""
    if isinstance(error, Problem):
        return error.retryable and (isinstance(error, Unavailable) or error.code == _IN_PROGRESS)
    return isinstance(error, Unreachable)


@dataclass(slots=True)
class Attempts:
    """How often something has failed in a row, and since when."""

    policy: Retry
    failures: int = 0
    _since: float = field(default=0.0, init=False)

    def succeeded(self) -> None:
        """It goes on: what failed before is forgotten."""
        self.failures = 0

    async def wait_after(self, error: RefkeepError) -> None:
        """Return when the next attempt is due; raise `error` where there is none."""
        await asyncio.sleep(self.pause_after(error))

    def pause_after(self, error: RefkeepError) -> float:
        """Seconds until the next attempt; raise `error` where there is none."""
        now = monotonic()
        self._since = self._since if self.failures else now
        self.failures += 1
        pause = self.policy.pause(self.failures, error.retry_after if isinstance(error, Problem) else None)
        too_late = now + pause > self._since + self.policy.total_s
        if not may_help(error) or self.failures >= self.policy.attempts or too_late:
            raise error
        return pause


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends calls, again where that is of use."""

    http: httpx.AsyncClient
    retry: Retry

    async def ask(self, call: Call, shape: type[Shape]) -> Shape:
        """The result of a call. Raises what `answer` raises, and `Unexpected`."""
        return result_of(await self.answer(call), shape)

    async def ask_write(self, call: Call, shape: type[Written]) -> Written:
        """The outcome of a write, and whether it is the stored one of an earlier attempt."""
        response = await self.answer(call)
        result = result_of(response, shape)
        return msgspec.structs.replace(result, replayed=True) if is_replayed(response) else result

    async def answer(self, call: Call) -> httpx.Response:
        """The 2xx answer to a call, its body read. Raises `Problem`, `Unreachable`, `NotRewindable`."""
        async with self.opened(call) as response:
            return response

    @asynccontextmanager
    async def opened(self, call: Call, *, streamed: bool = False) -> AsyncIterator[httpx.Response]:
        """The 2xx answer to a call; with `streamed` its body is still to be read, and only its head was tried for."""
        async with aclosing(await self._persist(call, streamed=streamed)) as response:
            yield response

    def attempts(self, call: Call) -> Attempts:
        """A count of what fails, by the call's own policy or the client's."""
        return Attempts(call.retry or self.retry)

    async def attempt(self, call: Call, *, streamed: bool = False) -> httpx.Response:
        """One attempt; the caller closes a streamed answer. Raises `Problem`, `Unreachable`, `Unexpected`."""
        with transport_errors(call):
            response = await self._send(call)
            if streamed and response.is_success:
                return response
            async with aclosing(response):
                await response.aread()
        if response.is_success:
            return response
        if response.status_code < HTTPStatus.BAD_REQUEST:
            raise Unexpected(f"{call} was answered with {response.status_code}, which Refkeep does not do.")
        raise problem_of(response)

    async def _persist(self, call: Call, *, streamed: bool) -> httpx.Response:
        attempts = self.attempts(call)
        while True:
            try:
                return await self.attempt(call, streamed=streamed)
            except (Problem, Unreachable) as error:
                await self._check_limit(call, error)
                pause = attempts.pause_after(error)
                if call.body is not None and not call.body.repeatable:
                    raise _not_rewindable(call, call.body.sent) from error
                await asyncio.sleep(pause)

    async def _check_limit(self, call: Call, error: RefkeepError) -> None:
        """Raise `TooLarge` where a connection broke because of the body's length.

        The service refuses by the declared length and closes; whoever still sends may never hear why.
        """
        size = 0 if call.body is None or not call.body.begun else call.body.source.size or 0
        if call.policy is None or size <= _TAKEN_IN_ANY_CASE or not isinstance(error, Unreachable):
            return
        kept = {name: value for name, value in call.headers.items() if name not in _ABOUT_THE_BODY}
        asked = Call("GET", call.policy, headers=kept, timeout=call.timeout, retry=NO_RETRY)
        most = size
        with suppress(Problem, Unreachable):
            most = (await self.ask(asked, Policy)).max_bytes
        if size > most:
            raise _too_large(size, most) from error

    async def _send(self, call: Call) -> httpx.Response:
        if call.body is None:
            return await self.http.send(self._request(call, call.json), stream=True)
        async with aclosing(call.body.pieces()) as pieces:  # a broken connection must not leave a file open
            return await self.http.send(self._request(call, pieces), stream=True)

    def _request(self, call: Call, content: bytes | AsyncIterator[bytes] | None) -> httpx.Request:
        timeout = httpx.USE_CLIENT_DEFAULT if call.timeout is None else call.timeout
        return self.http.build_request(
            call.method,
            call.path,
            params=httpx.QueryParams(tuple(call.params)) if call.params else None,
            headers=dict(call.headers),
            content=content,
            timeout=timeout,
        )


@contextmanager
def transport_errors(call: Call) -> Iterator[None]:
    """Everything that keeps an answer from coming, as `Unreachable`."""
    try:
        yield
    except httpx.LocalProtocolError as error:
        raise Unreachable(f"{call}: the connection could not be used.") from error  # its text may quote a header
    except httpx.TransportError as error:
        arrived = not isinstance(error, _NEVER_ARRIVED)
        reason = f"{type(error).__name__} {error}".strip()
        raise Unreachable(f"{call}: {reason}", may_have_arrived=arrived) from error
    except httpx.HTTPError as error:
        raise Unexpected(f"{call}: {type(error).__name__}") from error


def _too_large(size: int, max_bytes: int) -> TooLarge:
    detail = f"{size} bytes are more than the {max_bytes} that are taken here."
    return TooLarge(ProblemDocument(status=413, code="too-large", detail=detail, members={"max_bytes": max_bytes}))


def _not_rewindable(call: Call, sent: int) -> NotRewindable:
    return NotRewindable(
        f"{call} failed after {sent} bytes of content that cannot be sent again. Give bytes, a path, a file that can "
        "seek, or a function that makes the iterator."
    )
