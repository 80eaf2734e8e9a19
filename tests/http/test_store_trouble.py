"""The service on an S3 store, real behind a proxy, that says SlowDown to some of its requests or to all of them."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from random import Random

import anyio
import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from tests.parts.buckets import emptied_bucket
from tests.parts.caller import Caller, problem, sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.relay import RELAYED, Fate, Relay, running_relay
from tests.parts.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from tests.parts.service import Refkeep, Yard, readiness

MIB = 1024 * 1024
IN_PARTS = 65 * MIB
LONGEST_S = 6.0
ATTEMPTS = 8
SLOW_DOWN = Fate(503, content=b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>")


@dataclass
class Sometimes:
    """Refuses by luck, but never one request at all of its attempts, as luck would once in 150 runs."""

    share: float
    dice: random.Random = field(default_factory=lambda: Random(11))
    refused: Counter[bytes] = field(default_factory=Counter)
    asked: int = 0

    def __call__(self, head: bytes) -> Fate:
        self.asked += 1
        request = head.split(b"\r\n")[0]
        if self.dice.random() >= self.share or self.refused[request] == ATTEMPTS - 2:
            return RELAYED
        self.refused[request] += 1
        return SLOW_DOWN


@dataclass(frozen=True)
class Clouded:
    """A service whose every word with its store goes through the relay."""

    service: Refkeep
    caller: Caller
    relay: Relay


@pytest.fixture(scope="module")
def clouded(yard: Yard, seaweed: Seaweed) -> Iterator[Clouded]:
    config = anyio.run(emptied_bucket, seaweed)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(running_relay((seaweed.host, seaweed.port))) as relay,
        yard.running(
            STORAGE="s3",
            S3_BUCKET=config.bucket,
            S3_ENDPOINT_URL=relay.url,
            AWS_ACCESS_KEY_ID=ACCESS_KEY,
            AWS_SECRET_ACCESS_KEY=SECRET_KEY,
        ) as service,
    ):
        caller = service.caller("read", "write")
        caller.upload(fresh_text())
        yield Clouded(service, caller, relay)
        relay.decide = lambda _: RELAYED


@pytest.fixture(autouse=True)
def well_again(clouded: Clouded) -> Iterator[None]:
    yield
    clouded.relay.decide = lambda _: RELAYED


def large() -> bytes:
    return random.randbytes(MIB) * (IN_PARTS // MIB)


def test_thirty_percent_of_refusals_fail_nobody(clouded: Clouded) -> None:
    clouded.relay.decide = sometimes = Sometimes(0.3)
    caller, contents = clouded.caller, [fresh_text(100_000) for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(caller.upload, contents))
        parts = caller.upload(large())
        bodies = list(pool.map(lambda name: caller.http.get(f"/blobs/{name}").content, names))
    assert bodies == contents
    assert sha256_of(caller.http.get(f"/blobs/{parts}").content) == parts
    assert sum(sometimes.refused.values()) > sometimes.asked / 5


CALLS: dict[str, Callable[[Caller, str], httpx.Response]] = {
    "GET": lambda caller, known: caller.http.get(f"/blobs/{known}"),
    "range": lambda caller, known: caller.http.get(f"/blobs/{known}", headers={"range": "bytes=5-9"}),
    "PUT": lambda caller, _: caller.http.post("/blobs", content=fresh_text()),
    "attach": lambda caller, _: caller.put("book/42/cover/0", fresh_jpeg()),
}


def test_a_store_that_refuses_everything_is_told_in_six_seconds(clouded: Clouded) -> None:
    caller = clouded.caller
    known = caller.upload(fresh_text(100_000))
    clouded.relay.decide = lambda _: SLOW_DOWN
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda kind: timed(partial(CALLS[kind], caller, known)), CALLS))
    for answer in answers:
        told_in_time(*answer)


def timed(call: Callable[[], httpx.Response]) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    return call(), time.monotonic() - began


def sent_in_pieces(caller: Caller, content: bytes) -> tuple[httpx.Response, float]:
    """The answer to an upload in parts, and when it came."""
    pieces = (content[start : start + MIB] for start in range(0, len(content), MIB))
    return caller.http.put(f"/blobs/{sha256_of(content)}", content=pieces), time.monotonic()


def told_in_time(response: httpx.Response, seconds: float) -> None:
    assert seconds <= LONGEST_S
    problem(response, 503, "storage-unavailable")
    assert int(response.headers["retry-after"]) > 0


def test_readiness_says_so_in_two_seconds(clouded: Clouded) -> None:
    clouded.relay.decide = lambda _: SLOW_DOWN
    began = time.monotonic()
    status, parts = readiness(clouded.service)
    assert time.monotonic() - began <= 2
    assert (status, parts["database"]) == (503, "ok")
    assert parts["storage"] != "ok"


def test_an_upload_in_parts_is_told_in_six_seconds_wherever_it_breaks_and_comes_through_later(clouded: Clouded) -> None:
    """From its first refusal on: taking in so many bytes, and sending some on, is another matter."""
    caller, contents = clouded.caller, [large() for _ in range(3)]
    steps = ((b"POST", b"?uploads"), (b"PUT", b"partNumber="), (b"POST", b"?uploadId="))
    lost = {sha256_of(content): step for content, step in zip(contents, steps, strict=True)}
    broken = dict[str, float]()

    def decide(head: bytes) -> Fate:
        line = head.split(b"\r\n")[0]
        for name, (method, step) in lost.items():
            if name.encode() in line and step in line and line.startswith(method):
                broken.setdefault(name, time.monotonic())
        return SLOW_DOWN if any(name.encode() in line for name in broken) else RELAYED

    clouded.relay.decide = decide
    with ThreadPoolExecutor() as pool:
        for response, ended in pool.map(lambda content: sent_in_pieces(caller, content), contents):
            told_in_time(response, ended - broken[response.url.path.removeprefix("/blobs/")])
    clouded.relay.decide = lambda _: RELAYED
    assert [caller.http.get(f"/blobs/{name}").status_code for name in lost] == [404] * 3
    caller.upload(contents[-1])
