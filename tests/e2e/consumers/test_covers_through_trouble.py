"""Two hundred books get covers while Refkeep is stopped, killed and cut off from its store."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

import httpx
import pytest

from service.commands import events as event_commands
from tests.e2e.consumers.conftest import Town
from tests.parts.caller import Caller, sha256_of
from tests.parts.consumers import listed
from tests.parts.fresh import fresh_jpeg
from tests.parts.service import eventually

BOOKS, REPLACED_EVERY, LIBRARIES = 200, 4, 20
AUTHORS = 8
CUT_S = 10.0
PATIENCE_S = 120.0


@dataclass
class Ledger:
    """What was acknowledged: by path of the owner the hash of its cover, and of each cover the ref that it became."""

    covers: dict[str, str] = field(default_factory=dict)
    acknowledged: list[tuple[str, str]] = field(default_factory=list)
    answers: Counter[int | str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


async def persist(ledger: Ledger, ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """Ask the same until there is an answer other than "not now": what a browser's page or a queue of jobs does."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                answer = await ask()
            except httpx.TransportError as error:
                ledger.answers[type(error).__name__] += 1
                await asyncio.sleep(0.2)
                continue
            ledger.answers[answer.status_code] += 1
            if answer.status_code != 503:
                assert answer.is_success, answer.text
                return answer
            await asyncio.sleep(float(answer.headers["retry-after"]))


async def give_cover(http: httpx.AsyncClient, owner: str, ledger: Ledger) -> None:
    """One picture, one key."""
    content, key, began = fresh_jpeg(), str(uuid4()), time.monotonic()
    files, headers = {"file": ("cover.jpg", content, "image/jpeg")}, {"idempotency-key": key}
    answer = await persist(ledger, lambda: http.post(f"{owner}/cover", files=files, headers=headers))
    ledger.covers[owner] = sha256_of(content)
    ledger.acknowledged.append((owner, answer.json()["picture"]["ref_id"]))
    ledger.seconds.append(time.monotonic() - began)


async def author(http: httpx.AsyncClient, owners: list[str], ledger: Ledger) -> None:
    """Takes one owner after the other, and gives some a second cover."""
    while owners:
        owner = owners.pop()
        named = {"title": "A book"} if "/books/" in owner else {"name": "A library"}
        await persist(ledger, partial(http.put, owner, json=named))
        await give_cover(http, owner, ledger)
        if int(owner.rpartition("-")[2]) % REPLACED_EVERY == 0:
            await give_cover(http, owner, ledger)


async def give_all(town: Town, ledger: Ledger) -> None:
    """Everybody at once."""
    books = [f"{town.book.url}/books/book-{number}" for number in range(BOOKS)]
    libraries = [f"{town.library.url}/libraries/library-{number}" for number in range(LIBRARIES)]
    async with httpx.AsyncClient(timeout=60) as http:
        await asyncio.gather(*(author(http, books, ledger) for _ in range(AUTHORS)), author(http, libraries, ledger))


def make_trouble(town: Town, ledger: Ledger) -> None:
    """One after the other, each in the midst of uploads."""

    def when_given(covers: int) -> None:
        eventually(lambda: len(ledger.acknowledged) >= covers, PATIENCE_S)

    when_given(30)
    town.refkeep.stop()  # SIGTERM: what is under way ends in order
    town.refkeep.start()
    when_given(80)
    town.refkeep.kill()
    town.refkeep.start()
    when_given(130)
    town.line.cut()
    time.sleep(CUT_S)
    town.line.mend()
    when_given(180)
    town.book.kill()
    town.book.start()


@pytest.mark.timeout(400)
def test_every_acknowledged_cover_is_right_and_there_once_whatever_happens_meanwhile(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger, began = Ledger(), time.monotonic()
    with ThreadPoolExecutor(1) as elsewhere:  # the processes that trouble starts live as long as the thread that did
        giving = elsewhere.submit(asyncio.run, give_all(town, ledger))
        make_trouble(town, ledger)
        giving.result()
    took = time.monotonic() - began
    with capsys.disabled():
        slowest = max(ledger.seconds)
        told = ", ".join(f"{count} × {answer}" for answer, count in sorted(ledger.answers.items(), key=str))
        print(f"\n{len(ledger.acknowledged)} covers in {took:.0f} s, the slowest {slowest:.1f} s; answers: {told}")  # noqa: T201

    assert len(ledger.covers) == BOOKS + LIBRARIES
    assert town.line.refused > 0, "nobody asked for the store while it was cut off"
    refkeep = town.running.bearer(town.token)
    shows_what_was_acknowledged(refkeep, ledger)
    has_each_once(refkeep, ledger)
    eventually(lambda: town.book.projected() == listed(refkeep, "book"), 30)
    eventually(lambda: town.library.projected() == listed(refkeep, "library"), 30)
    town.running.command(event_commands.events, "verify")


def shows_what_was_acknowledged(refkeep: Caller, ledger: Ledger) -> None:
    """The service's own pointer leads to the bytes that were sent last."""
    with httpx.Client() as http:
        for owner, sha256 in ledger.covers.items():
            cover = http.get(owner).json()["cover"]
            content = refkeep.http.get(f"/media/{cover['ref_id']}/file").content
            assert sha256_of(content) == sha256, f"{owner} shows another picture"


def has_each_once(refkeep: Caller, ledger: Ledger) -> None:
    """As many refs as acknowledged uploads, ever: one live for each owner, the others in the trash."""
    live = [ref for shelf in listed(refkeep, "book", "library").values() for ref in shelf[1]]
    ever = {ref["ref_id"] for ref in all_media(refkeep)}
    assert len(live) == len(set(live)) == len(ledger.covers)
    assert ever == {ref_id for _, ref_id in ledger.acknowledged}
    assert len(ledger.acknowledged) == len(ever)


def all_media(refkeep: Caller) -> list[dict[str, str]]:
    items: list[dict[str, str]] = []
    query = {"state": "all", "limit": "500"}
    while True:
        page = refkeep.http.get("/media", params=query).json()
        items += page["items"]
        if page["next"] is None:
            return items
        query["cursor"] = page["next"]
