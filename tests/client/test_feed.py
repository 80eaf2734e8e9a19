"""The feed: followed from a cursor through restarts, streamed, filtered; and snapshots to begin from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from uuid import UUID

import pytest

from refkeep_client import (
    AppendRef,
    BadRequest,
    CursorExpired,
    EntityKey,
    Event,
    Refkeep,
    Unauthorized,
    Unreachable,
)
from service.commands import events as event_commands
from tests.client.conftest import QUICK, SIGNING_KEY
from tests.client.fates import field, in_turn
from tests.parts.relay import RELAYED, Fate, Relay
from tests.parts.service import PATIENCE_S, Yard, eventually, is_ready
from tests.parts.service import Refkeep as Service

pytestmark = pytest.mark.anyio

FILES = EntityKey("document", "1").role("file")
LINE_SEPARATORS = "one\u2028two\u2029three"


async def taken(events: AsyncIterator[Event], count: int) -> list[Event]:
    """So many of them."""
    found = []
    async with asyncio.timeout(PATIENCE_S):
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


async def appended(refkeep: Refkeep, *contents: bytes) -> list[UUID]:
    return [(await refkeep.refs.append(FILES, content)).ref.ref_id for content in contents]


def inserted(events: list[Event]) -> list[UUID]:
    return [event.data.ref.ref_id for event in events if event.data.ref is not None]


async def test_pages_are_read_from_cursor_to_cursor(refkeep: Refkeep) -> None:
    ids = await appended(refkeep, b"a", b"b", b"c")
    events: list[Event] = []
    after, caught_up = None, False
    while not caught_up:
        page = await refkeep.events.page(after, limit=2)
        events += page.events
        after, caught_up = page.next, page.caught_up
    assert inserted(events) == ids
    assert {event.subject for event in events if event.data.ref} == {"document/1"}
    assert [event.data.entity.version for event in events if event.data.entity] == [1, 2, 3]
    assert {(event.specversion, event.source) for event in events} == {("1.0", "refkeep")}


async def test_the_feed_is_narrowed_down(refkeep: Refkeep) -> None:
    ids = await appended(refkeep, b"a", b"b")
    await refkeep.media.delete(ids[0])
    by_ref = await refkeep.events.page(ref_id=ids[0])
    assert [event.data.decision for event in by_ref.events] == ["insert", "release"]
    by_decision = await refkeep.events.page(entity_type="document", entity_id="1", decision="release")
    assert inserted(list(by_decision.events)) == [ids[0]]
    assert by_decision.next


async def test_a_page_waits_for_what_comes(refkeep: Refkeep) -> None:
    cursor = (await refkeep.events.page()).next
    waiting = asyncio.create_task(refkeep.events.page(cursor, wait=20, entity_type="document", timeout=2.0))
    [ref_id] = await appended(refkeep, b"awaited")
    assert inserted(list((await waiting).events)) == [ref_id]


async def test_an_event_is_a_cursor_to_go_on_from(refkeep: Refkeep) -> None:
    ids = await appended(refkeep, b"a", b"b", b"c")
    async with aclosing(refkeep.events.follow(entity_type="document")) as feed:
        [first] = await taken(feed, 1)
    async with aclosing(refkeep.events.follow(first.id, entity_type="document")) as feed:
        assert inserted(await taken(feed, 2)) == ids[1:]


async def test_pages_bring_a_cursor_where_nothing_matches(refkeep: Refkeep) -> None:
    await appended(refkeep, b"a")
    async with aclosing(refkeep.events.pages(wait=1, entity_type="book")) as pages:
        page = await anext(pages)
    assert (page.events, page.caught_up) == ((), True)
    [later] = await appended(refkeep, b"b")
    assert inserted(list((await refkeep.events.page(page.next, wait=10, entity_type="document")).events)) == [later]


async def test_a_feed_goes_on_through_everything_that_passes(far: Refkeep, refkeep: Refkeep, relay: Relay) -> None:
    ids = await appended(refkeep, *(b"%d" % number for number in range(6)))
    relay.decide = in_turn(
        Fate(status=503), Fate(body_bytes=0), RELAYED, Fate(status=502), Fate(body_bytes=20), RELAYED, Fate(status=429)
    )
    async with aclosing(far.events.follow(limit=2, entity_type="document")) as feed:
        assert inserted(await taken(feed, 6)) == ids


async def test_a_feed_survives_the_restart_of_the_service(yard: Yard, service: Service, key: str) -> None:
    async with Refkeep(service.url, key=key, retry=QUICK) as client:
        [before] = await appended(client, b"before")
        async with aclosing(client.events.follow(entity_type="document", wait=5)) as feed:
            assert inserted(await taken(feed, 1)) == [before]
            waiting = asyncio.create_task(taken(feed, 1))
            await asyncio.to_thread(restart, yard, service)
            [after] = await appended(client, b"after")
            assert inserted(await waiting) == [after]


def restart(yard: Yard, service: Service) -> None:
    """Stop it, and start it again where it was."""
    assert service.stop() == 0
    settings: dict[str, Any] = {"DATABASE_URL": service.database_url, "PORT": service.port, "SIGNING_KEYS": SIGNING_KEY}
    service.process = yard.launch("serve", data_dir=service.data_dir, **settings).process
    eventually(lambda: is_ready(service) or service.process.poll() is not None)
    assert is_ready(service)


async def test_a_stream_brings_what_pages_bring(refkeep: Refkeep) -> None:
    await appended(refkeep, b"a", b"b")
    page = await refkeep.events.page()
    async with aclosing(refkeep.events.stream()) as stream:
        assert await taken(stream, len(page.events)) == list(page.events)
        waiting = asyncio.create_task(taken(stream, 2))
        [ref_id] = await appended(refkeep, b"c")
        assert inserted(await waiting) == [ref_id]


async def test_a_stream_that_breaks_comes_again_behind_the_last_event(
    far: Refkeep, refkeep: Refkeep, relay: Relay
) -> None:
    ids = await appended(refkeep, *(b"%d" % number for number in range(5)))
    everything = list((await refkeep.events.page(entity_type="document")).events)
    relay.decide = in_turn(Fate(status=503), Fate(body_bytes=2500), Fate(taken_bytes=0), Fate(body_bytes=2500))
    async with aclosing(far.events.stream(entity_type="document")) as stream:
        found = await taken(stream, len(everything))
    assert found == everything
    assert inserted(found) == ids
    assert [field(head, "last-event-id") for head in relay.heads[:2]] == [None, None]
    assert field(relay.heads[2], "last-event-id") in {event.id for event in everything}


async def test_a_snapshot_and_the_feed_behind_it_are_everything(refkeep: Refkeep) -> None:
    ids = await appended(refkeep, b"a", b"b")
    await refkeep.media.patch(ids[0], alt=LINE_SEPARATORS)
    async with refkeep.events.snapshot() as snapshot:
        refs = [ref async for ref in snapshot]
    assert [(ref.ref_id, ref.position, ref.version) for ref in refs] == [(ids[0], 0, 3), (ids[1], 1, 3)]
    assert refs[0].alt == LINE_SEPARATORS
    [later] = await appended(refkeep, b"c")
    async with aclosing(refkeep.events.follow(snapshot.cursor, entity_type="document")) as feed:
        assert inserted(await taken(feed, 1)) == [later]


async def test_line_separators_in_a_text_do_not_end_an_event(refkeep: Refkeep) -> None:
    await refkeep.refs.append(FILES, b"a", alt=LINE_SEPARATORS)
    async with aclosing(refkeep.events.stream(entity_type="document")) as stream:
        [event] = await taken(stream, 1)
    assert event.data.ref is not None
    assert event.data.ref.alt == LINE_SEPARATORS


async def test_a_snapshot_that_breaks_off_is_never_taken_for_a_whole_one(
    far: Refkeep, refkeep: Refkeep, relay: Relay
) -> None:
    sha256 = (await refkeep.blobs.send(b"again and again")).blob.sha256
    await refkeep.refs.batch([AppendRef(role=FILES, sha256=sha256)] * 100)
    relay.decide = in_turn(Fate(status=503), Fate(body_bytes=20_000))
    seen = 0
    with pytest.raises(Unreachable):
        async with far.events.snapshot() as snapshot:
            async for _ in snapshot:
                seen += 1
    assert 0 < seen < 100


async def test_a_snapshot_may_be_left_in_the_middle(refkeep: Refkeep) -> None:
    ids = await appended(refkeep, b"a", b"b")
    async with refkeep.events.snapshot() as snapshot:
        assert (await anext(aiter(snapshot))).ref_id == ids[0]


async def test_a_cursor_whose_events_were_dropped_is_an_exception_of_its_own(
    refkeep: Refkeep, service: Service
) -> None:
    await appended(refkeep, b"old", b"older")
    first, *_, last = (await refkeep.events.page()).events
    await asyncio.to_thread(service.command, event_commands.events, "drop", "--before", last.id)
    with pytest.raises(CursorExpired) as raised:
        await refkeep.events.page(first.id)
    assert raised.value.members["snapshot"] == "/snapshot"
    for feed in (refkeep.events.follow(first.id), refkeep.events.stream(first.id)):
        with pytest.raises(CursorExpired):
            await anext(feed)


async def test_a_feed_ends_where_waiting_is_of_no_use(refkeep: Refkeep, service: Service) -> None:
    for feed in (refkeep.events.follow("no cursor"), refkeep.events.stream("no cursor")):
        with pytest.raises(BadRequest) as raised:
            await anext(feed)
        assert raised.value.code == "bad-cursor"
    async with Refkeep(service.url, key="rk_nobody_nothing") as nobody:
        with pytest.raises(Unauthorized):
            await anext(nobody.events.follow())
    with pytest.raises(ValueError, match="without a pause"):
        await anext(refkeep.events.pages(wait=0))
