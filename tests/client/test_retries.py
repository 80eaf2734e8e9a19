"""Networks that break, services that are not there for a while: what the client does about it, and what it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from time import monotonic
from typing import Any, TypeVar

import httpx
import pytest

from refkeep_client import (
    NO_RETRY,
    Attached,
    Changed,
    Corrupted,
    DigestMismatch,
    EntityKey,
    NotFound,
    NotRewindable,
    Problem,
    Refkeep,
    Rejected,
    Retry,
    Sent,
    Unavailable,
    Unreachable,
)
from service.router.problems import problem_answer
from tests.client.conftest import QUICK
from tests.client.fates import field, in_turn, methods
from tests.parts.relay import Fate, Relay
from tests.parts.seaweed import free_ports

pytestmark = pytest.mark.anyio

FILES = EntityKey("document", "1").role("file")
LARGE = b"0123456789abcdef" * 64 * 1024
Result = TypeVar("Result", Attached, Changed, Sent)
LOST = Fate(body_bytes=0)
REFUSED = Fate(status=503)


@pytest.mark.parametrize(
    "fate", [LOST, REFUSED, Fate(status=502), Fate(status=504), Fate(status=429), Fate(body_bytes=9)]
)
async def test_an_append_whose_answer_is_lost_happens_once(far: Refkeep, relay: Relay, fate: Fate) -> None:
    relay.decide = in_turn(fate, fate)
    attached = await far.refs.append(FILES, b"once")
    assert attached.replayed is (fate.status is None)
    assert [ref.ref_id for ref in (await far.refs.get(FILES)).items] == [attached.ref.ref_id]
    keys = {field(head, "idempotency-key") for head in relay.heads[:3]}
    assert (methods(relay.heads[:3]), len(keys)) == (["POST"] * 3, 1)


async def test_every_write_survives_the_loss_of_its_answer(far: Refkeep, relay: Relay) -> None:
    async def lost(call: Awaitable[Result]) -> Result:
        relay.decide = in_turn(LOST)
        outcome = await call
        assert outcome.replayed
        decisions.append(outcome.decision)
        return outcome

    decisions: list[str] = []
    await lost(far.blobs.send(b"sent"))
    first = (await lost(far.refs.append(FILES, b"a"))).ref
    second = (await lost(far.refs.append(FILES, b"b"))).ref
    third = (await lost(far.refs.put(FILES.slot(), b"c", if_match=2))).ref
    await lost(far.refs.order(FILES, [second.ref_id, third.ref_id], if_match=3))
    await lost(far.refs.release(FILES.slot(0), if_match=4))
    await lost(far.media.patch(third.ref_id, alt="alt"))
    await lost(far.media.delete(third.ref_id))
    await lost(far.media.restore(third.ref_id))
    await lost(far.media.purge(first.ref_id))
    await lost(far.refs.release(FILES.entity))
    assert decisions[:6] == ["insert", "insert", "insert", "replace", "reorder", "release"]
    assert decisions[6:] == ["update", "release", "restore", "purge", "release"]
    assert (await far.refs.get(FILES)).entity.version == len(decisions) - 1


async def test_giving_up_bytes_survives_the_loss_of_its_answer(far: Refkeep, relay: Relay) -> None:
    sent = await far.blobs.send(b"given up")
    relay.decide = in_turn(LOST)
    await far.blobs.delete(sent.blob.sha256)
    assert methods(relay.heads) == ["POST", "DELETE", "DELETE"]


@pytest.mark.parametrize("taken", [0, 1, 100_000])
async def test_an_upload_that_is_cut_is_sent_again_from_its_beginning(far: Refkeep, relay: Relay, taken: int) -> None:
    heard: list[int] = []
    relay.decide = in_turn(Fate(taken_bytes=taken), Fate(taken_bytes=taken))
    sent = await far.blobs.send(LARGE, progress=lambda now, _: heard.append(now))
    assert (sent.decision, sent.blob.size) == ("insert", len(LARGE))
    assert heard.count(0) == 3
    assert heard[-1] == len(LARGE)


async def test_an_iterator_is_not_sent_again_after_its_first_byte(far: Refkeep, relay: Relay) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield LARGE

    relay.decide = in_turn(Fate(taken_bytes=10))
    with pytest.raises(NotRewindable, match=r"function that makes the iterator") as raised:
        await far.blobs.send(pieces(), size=len(LARGE))
    assert isinstance(raised.value.__cause__, Unreachable)
    assert len(relay.heads) == 1
    relay.decide = in_turn(Fate(taken_bytes=10))
    assert (await far.blobs.send(pieces, size=len(LARGE))).decision == "insert"


async def test_an_iterator_is_sent_later_where_nobody_listens_yet(service_port_later: Relay, key: str) -> None:
    async with Refkeep(service_port_later.url, key=key, retry=QUICK) as client:
        with pytest.raises(Unreachable) as raised:
            await client.blobs.send(iter([b"never taken"]))
    assert raised.value.may_have_arrived is False


@pytest.fixture
def service_port_later() -> Relay:
    """A relay that was never started: an address where nobody listens."""
    [port] = free_ports(1)
    return Relay(("127.0.0.1", port), port=port)


async def test_retry_after_is_waited_for(far: Refkeep, relay: Relay) -> None:
    relay.decide = in_turn(Fate(status=503, retry_after="1"))
    began = monotonic()
    await far.refs.get(FILES)
    assert 1.0 <= monotonic() - began < 10.0


async def test_a_retry_after_that_is_a_date_is_waited_for(far: Refkeep, relay: Relay) -> None:
    until = datetime.now(UTC) + timedelta(seconds=2)
    relay.decide = in_turn(Fate(status=429, retry_after=format_datetime(until, usegmt=True)))
    await far.refs.get(FILES)
    assert datetime.now(UTC) >= until.replace(microsecond=0)


async def test_a_retry_after_beyond_all_patience_fails_at_once(far: Refkeep, relay: Relay) -> None:
    relay.decide = in_turn(Fate(status=503, retry_after="3600"))
    with pytest.raises(Unavailable) as raised:
        await far.refs.get(FILES)
    assert (raised.value.code, raised.value.retry_after, raised.value.retryable) == ("http-503", 3600.0, True)
    assert len(relay.heads) == 1


async def test_attempts_are_bounded_in_number(far: Refkeep, relay: Relay) -> None:
    relay.decide = lambda _: REFUSED
    with pytest.raises(Unavailable):
        await far.refs.append(FILES, b"never", retry=Retry(attempts=4, first_s=0.01))
    assert len(relay.heads) == 4


async def test_attempts_are_bounded_in_time(far: Refkeep, relay: Relay) -> None:
    relay.decide = lambda _: REFUSED
    began = monotonic()
    with pytest.raises(Unavailable):
        await far.refs.get(FILES, retry=Retry(attempts=10**6, total_s=0.5, first_s=0.05, most_s=0.1))
    assert 0.3 <= monotonic() - began < 5.0


def told(code: str) -> Fate:
    """What the service says with this code."""
    status, _, content = problem_answer(code, "A sentence.", "/")
    return Fate(status=status, content=content)


@pytest.mark.parametrize("code", ["idempotency-in-progress", "unavailable", "storage-unavailable", "read-only"])
async def test_what_the_service_says_will_pass_is_tried_again(far: Refkeep, relay: Relay, code: str) -> None:
    relay.decide = in_turn(told(code), told(code))
    assert (await far.refs.append(FILES, b"passes")).decision == "insert"
    assert len(relay.heads) == 3


@pytest.mark.parametrize(
    "code",
    ["role-full", "signing-disabled", "internal", "storage-full", "quota-exceeded", "request-timeout", "on-hold"],
)
async def test_what_will_not_pass_by_itself_is_raised_at_once(far: Refkeep, relay: Relay, code: str) -> None:
    relay.decide = in_turn(told(code))
    with pytest.raises(Problem) as raised:
        await far.refs.append(FILES, b"refused")
    assert (raised.value.code, len(relay.heads)) == (code, 1)


async def test_a_refusal_is_not_tried_again(far: Refkeep, relay: Relay) -> None:
    for call, kind in (
        (far.refs.append(EntityKey("book", "1").role("cover"), b"no picture"), Rejected),
        (far.media.get("01a202c3-a464-7376-b788-e10385782698"), NotFound),
    ):
        relay.heads.clear()
        with pytest.raises(kind):
            await call
        assert len(relay.heads) == 1


async def test_a_service_that_does_not_answer_in_time_is_unreachable(far: Refkeep, relay: Relay) -> None:
    relay.decide = lambda _: Fate(silent=True)
    with pytest.raises(Unreachable, match="ReadTimeout") as raised:
        await far.refs.get(FILES, timeout=0.2, retry=Retry(attempts=2, first_s=0.01))
    assert raised.value.may_have_arrived is True
    assert len(relay.heads) == 2


async def test_a_write_that_answers_too_late_happens_once(far: Refkeep, relay: Relay) -> None:
    relay.decide = in_turn(Fate(pause_s=0.6))
    attached = await far.refs.append(FILES, b"slow", timeout=0.3)
    await asyncio.gather(*relay.handlers)  # the first attempt arrives behind the second one
    assert [ref.ref_id for ref in (await far.refs.get(FILES)).items] == [attached.ref.ref_id]


async def test_bytes_that_change_on_the_way_are_found_out(far: Refkeep, relay: Relay) -> None:
    relay.decide = lambda head: Fate(garbles_body=b"/missing" not in head)
    with pytest.raises(DigestMismatch):
        await far.blobs.put(b"by their name", retry=NO_RETRY)
    with pytest.raises(Corrupted, match="went out"):
        await far.blobs.send(iter([b"from an ", b"iterator"]), size=16)


async def test_a_cancelled_upload_leaves_no_file_open(far: Refkeep, relay: Relay, tmp_path: Any) -> None:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    relay.decide = lambda _: Fate(silent=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await far.blobs.send(path)


def halves() -> Iterator[bytes]:
    yield LARGE[: len(LARGE) // 2]
    yield LARGE[len(LARGE) // 2 :]


async def test_bytes_that_are_held_are_not_sent_again(far: Refkeep, relay: Relay) -> None:
    assert (await far.blobs.put(halves)).decision == "insert"
    relay.heads.clear()
    again = await far.blobs.put(halves)
    assert (again.decision, again.blob.size) == ("duplicate", len(LARGE))
    assert methods(relay.heads) == ["POST", "GET"]


async def test_errors_never_carry_the_key(far: Refkeep, relay: Relay, key: str) -> None:
    relay.decide = lambda _: Fate(silent=True)
    with pytest.raises(Unreachable) as silent:
        await far.refs.get(FILES, timeout=0.1, retry=NO_RETRY)
    relay.decide = lambda _: REFUSED
    with pytest.raises(Unavailable) as refused:
        await far.refs.get(FILES, retry=NO_RETRY)
    secret = key.rsplit("_", 1)[1]
    for error in (silent.value, refused.value):
        seen: BaseException | None = error
        while seen is not None:
            assert secret not in f"{seen!s}{seen!r}{seen.args!r}{vars(seen)!r}"
            seen = seen.__cause__ or seen.__context__


async def test_instrumentation_and_trace_contexts_reach_every_attempt(relay: Relay, key: str) -> None:
    seen: list[str] = []
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    async def note(request: httpx.Request) -> None:
        seen.append(request.method)
        request.headers["x-from-hook"] = "yes"

    relay.decide = in_turn(REFUSED)
    async with Refkeep(relay.url, key=key, retry=QUICK, event_hooks={"request": [note]}) as client:
        await client.refs.append(FILES, b"traced", traceparent=trace, headers={"x-mine": "too"})
    page = await events_of(relay, key)
    assert seen == ["POST", "POST"]
    for head in relay.heads[:2]:
        assert [field(head, name) for name in ("traceparent", "x-from-hook", "x-mine")] == [trace, "yes", "too"]
    traces = [event.data.traceparent or "" for event in page.events]
    assert traces
    assert all(found.split("-")[1] == trace.split("-")[1] for found in traces)


async def events_of(relay: Relay, key: str) -> Any:
    async with Refkeep(relay.url, key=key) as client:
        return await client.events.page()


async def test_a_transport_of_ones_own_is_used(relay: Relay, key: str) -> None:
    class Counting(httpx.AsyncHTTPTransport):
        requests = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.requests += 1
            return await super().handle_async_request(request)

    transport = Counting()
    async with Refkeep(relay.url, key=key, transport=transport) as client:
        await client.refs.get(FILES)
        async with aclosing(client.media.list()) as listed:
            assert [ref async for ref in listed] == []
    assert transport.requests == len(relay.heads) == 2
