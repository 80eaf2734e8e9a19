"""Those who wait for events: woken by one who looks for all, and let go by a drain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from time import monotonic

import pytest

from service import tailer as tailer_module
from service.adapters.postgres import snapshot as snapshot_module
from service.adapters.postgres.database import Database
from service.adapters.postgres.feed import PostgresFeed
from service.adapters.postgres.snapshot import PostgresSnapshot
from service.application import take_snapshot, watch_lag
from service.application.await_events import AwaitEvents
from service.application.follow_events import FollowEvents
from service.application.take_snapshot import TakeSnapshot
from service.application.watch_lag import WatchLag
from service.domain.decision import Attach
from service.domain.errors import NotFound, Unavailable
from service.drain import Drain
from service.ports.feed import EventFilter, News
from service.ports.snapshot import EntitySnapshot
from service.tailer import Tailer, tailing
from tests.parts.ledgers import Ledger, attach, book, fresh, release
from tests.parts.postgres import session
from tests.telemetry_recorder import recording

pytestmark = pytest.mark.anyio

ALL = EventFilter()
PURGES = EventFilter(decision="purge")


@pytest.fixture
def drain() -> Drain:
    """Not begun."""
    return Drain()


@pytest.fixture
def feed(database: Database) -> PostgresFeed:
    """The feed."""
    return PostgresFeed(database)


@pytest.fixture
async def tail(feed: PostgresFeed, drain: Drain) -> AsyncIterator[Tailer]:
    """A tailer at work."""
    async with tailing(feed, drain) as tailer:
        yield tailer


# --- waits ------------------------------------------------------------------------------------------------------------


async def test_a_wait_ends_with_the_first_event_of_its_workspace(
    feed: PostgresFeed, tail: Tailer, ledger: Ledger
) -> None:
    mine, theirs = await ledger.workspace(), await ledger.workspace()
    waiting = asyncio.create_task(AwaitEvents(feed, tail)(mine, None, 10, ALL, 20))
    await ledger.hold(theirs)
    sha256 = await ledger.hold(mine)
    page = await asyncio.wait_for(waiting, 10)
    assert [event.subject for event in page.events] == [f"blobs/{sha256}"]


async def test_a_wait_for_what_never_comes_is_over_in_time(feed: PostgresFeed, tail: Tailer, ledger: Ledger) -> None:
    workspace, began = await ledger.workspace(), monotonic()
    page = await AwaitEvents(feed, tail)(workspace, None, 10, PURGES, 0.2)
    assert 0.2 <= monotonic() - began < 5
    assert (page.events, page.caught_up) == ((), True)


async def test_a_wait_goes_on_where_a_stretch_of_the_log_had_nothing(
    feed: PostgresFeed, tail: Tailer, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.adapters.postgres.feed._SCAN", 2)
    workspace = await ledger.workspace()
    for _ in range(3):
        await ledger.hold(workspace)
    await ledger.attach(attach(book(workspace), "notes", await ledger.hold(workspace)))
    page = await AwaitEvents(feed, tail)(workspace, None, 1, EventFilter(entity_type="book"), 5)
    assert [event.subject for event in page.events] == ["book/42"]


async def test_a_drain_lets_everyone_go_at_once(feed: PostgresFeed, tail: Tailer, ledger: Ledger, drain: Drain) -> None:
    workspace = await ledger.workspace()
    wait = AwaitEvents(feed, tail)
    waiting = [asyncio.create_task(wait(workspace, None, 10, ALL, 60)) for _ in range(3)]
    stream = FollowEvents(feed, tail)(workspace, None, 10, ALL, 60)
    assert (await anext(stream)).caught_up
    end = asyncio.create_task(anext(stream, None))
    await asyncio.sleep(0)
    drain.begin()
    pages = await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert [(page.events, page.caught_up) for page in pages] == [((), True)] * 3
    assert await asyncio.wait_for(end, 5) is None
    assert (await asyncio.wait_for(wait(workspace, None, 10, ALL, 60), 5)).events == ()


async def test_a_stream_gives_pages_as_they_come_and_empty_ones_between(
    feed: PostgresFeed, tail: Tailer, ledger: Ledger
) -> None:
    workspace = await ledger.workspace()
    for _ in range(3):
        await ledger.hold(workspace)
    async with aclosing(FollowEvents(feed, tail)(workspace, None, 2, ALL, 0.1)) as stream:
        counts = [len((await anext(stream)).events) for _ in range(5)]
        assert counts == [2, 1, 0, 0, 0]
        await ledger.hold(workspace)
        while not (page := await anext(stream)).events:
            pass
        assert len(page.events) == 1


async def test_too_many_who_wait_are_refused_and_their_places_come_free(feed: PostgresFeed, drain: Drain) -> None:
    tailer = Tailer(feed, drain, most=1)
    with tailer.watch("one"), pytest.raises(Unavailable), tailer.watch("two"):
        pass
    with tailer.watch("two"):
        pass


async def test_the_database_is_asked_only_while_somebody_waits(database: Database, drain: Drain) -> None:
    looks = 0

    class Counted(PostgresFeed):
        async def news(self, after: str | None) -> News:
            nonlocal looks
            looks += 1
            return await super().news(after)

    async with tailing(Counted(database), drain) as tailer:
        await asyncio.sleep(3 * tailer_module.INTERVAL_S)
        assert looks == 0
        with tailer.watch("one") as watch:
            assert await watch.news(5)  # the first look wakes everyone
            while looks < 3:
                await watch.news(0.05)
        await asyncio.sleep(2 * tailer_module.INTERVAL_S)
        seen = looks
        await asyncio.sleep(4 * tailer_module.INTERVAL_S)
        assert looks == seen


async def test_a_database_that_does_not_answer_for_a_while_is_asked_again(
    database: Database, drain: Drain, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailer_module, "_PATIENCE_S", 0.01)
    failures = iter([Unavailable("gone"), RuntimeError("a defect")])

    class Failing(PostgresFeed):
        async def news(self, after: str | None) -> News:
            for failure in failures:
                raise failure
            return await super().news(after)

    workspace = await ledger.workspace()
    async with tailing(Failing(database), drain) as tailer:
        waiting = asyncio.create_task(AwaitEvents(PostgresFeed(database), tailer)(workspace, None, 1, ALL, 20))
        await asyncio.sleep(0)
        await ledger.hold(workspace)
        assert len((await asyncio.wait_for(waiting, 10)).events) == 1


# --- snapshots --------------------------------------------------------------------------------------------------------


async def whole(taken: AsyncIterator[tuple[EntitySnapshot, ...]]) -> list[EntitySnapshot]:
    return [entity async for page in taken for entity in page]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 7, 100])
async def test_a_snapshot_in_pages_of_any_size_has_every_entity_once_and_whole(
    database: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(take_snapshot, "PAGE", limit)
    workspace = await ledger.workspace()
    for number, refs in enumerate([1, 3, 2, 1, 3]):
        for _ in range(refs):
            await ledger.attach(attach(book(workspace, number), "notes", await ledger.hold(workspace)))
    await ledger.attach(attach(book(workspace, 9), "cover", await ledger.hold(workspace), 0))
    await ledger.change(release(book(workspace, 9), "cover", 0))
    take = TakeSnapshot(PostgresFeed(database), PostgresSnapshot(database))
    entities = await whole(take.entities(workspace))
    assert [(each.entity.id, each.version, len(each.refs)) for each in entities] == [
        ("0", 1, 1), ("1", 3, 3), ("2", 2, 2), ("3", 1, 1), ("4", 3, 3),
    ]  # fmt: skip
    with pytest.raises(NotFound):
        await whole(take.entities("nobody"))


async def test_an_entity_that_is_released_between_two_looks_ends_no_snapshot(
    database: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = await ledger.workspace()
    for number in (1, 2):
        for _ in range(2):
            await ledger.attach(attach(book(workspace, number), "notes", await ledger.hold(workspace)))
    nobody = snapshot_module._WHOLE.replace("r.entity_id = $3", "r.entity_id = $3 || 'x'")
    monkeypatch.setattr(snapshot_module, "_WHOLE", nobody)
    taken = await PostgresSnapshot(database).page(workspace, None, 2)
    assert taken == ()  # both are gone by then
    monkeypatch.undo()
    rest = await PostgresSnapshot(database).page(workspace, book(workspace, 1), 3)
    assert [each.entity.id for each in rest] == ["2"]


async def test_snapshot_and_feed_make_the_whole_state_while_everyone_writes(
    database: Database, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(take_snapshot, "PAGE", 3)
    workspace = await ledger.workspace()
    hashes = [await ledger.hold(workspace) for _ in range(3)]
    stop = asyncio.Event()

    async def write(writer: int) -> None:
        number = writer
        while not stop.is_set():
            number = (number + 3) % 10
            put: Attach = attach(book(workspace, number), "cover", hashes[number % 3], 0)
            change = release(put.entity, "cover", 0) if number % 4 == writer else put
            fresh(await ledger.change(change))

    writers = [asyncio.create_task(write(number)) for number in range(3)]
    feed, snapshots = PostgresFeed(database), PostgresSnapshot(database)
    taken = []
    for _ in range(8):
        take = TakeSnapshot(feed, snapshots)
        taken.append((await take.cursor(), await whole(take.entities(workspace))))
    stop.set()
    await asyncio.gather(*writers)
    truth = await shown(ledger, workspace)
    for cursor, entities in taken:
        assert await followed(feed, workspace, cursor, entities) == truth


async def shown(ledger: Ledger, workspace: str) -> dict[str, str]:
    """What each book shows."""
    books = {str(number): (await ledger.refs.of_entity(book(workspace, number))).refs for number in range(10)}
    return {number: str(refs[0].ref.ref_id) for number, refs in books.items() if refs}


async def followed(feed: PostgresFeed, workspace: str, cursor: str, entities: list[EntitySnapshot]) -> dict[str, str]:
    """The same by a consumer that applies what is newer, as the documentation says."""
    import json  # noqa: PLC0415 - beside its only use

    state = {each.entity.id: str(each.refs[0].ref.ref_id) for each in entities}
    versions = {each.entity.id: each.version for each in entities}
    for event in (await feed.page(workspace, cursor, 10_000, ALL)).events:
        data = json.loads(event.data)
        if "entity" not in data or data["decision"] == "reject":
            continue
        number, version = data["entity"]["id"], data["entity"]["version"]
        if version <= versions.get(number, 0):
            continue
        versions[number] = version
        if data["decision"] == "release":
            state.pop(number, None)
        else:
            state[number] = data["ref"]["ref_id"]
    return state


# --- lag --------------------------------------------------------------------------------------------------------------


async def test_a_feed_that_is_held_back_is_on_record_with_the_one_who_does_it(
    database: Database, ledger: Ledger, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_lag, "WORTH_A_WORD", 0.0)
    watch, workspace = WatchLag(PostgresFeed(database)), await ledger.workspace()
    with recording() as recorder:
        assert (await watch()).blocker is None
        async with session(database_url) as slow:
            await slow.execute("SET application_name = 'nightly report'; BEGIN; SELECT pg_current_xact_id()")
            await ledger.hold(workspace)
            lag = await watch()
            assert recorder.values("media.events.lag") == [lag.seconds]
        told = [line for line in recorder.lines if line["event"] == "feed_held_back"]
        assert (told[-1]["application"], told[-1]["waiting"], told[-1]["level"]) == ("nightly report", 1, "warning")
        assert told[-1]["pid"] == slow.get_server_pid() if not slow.is_closed() else told[-1]["pid"] > 0
        monkeypatch.setattr(watch_lag, "WORTH_A_WORD", 1e9)
        with suppress(Unavailable):
            await watch()
        assert [line for line in recorder.lines if line["event"] == "feed_held_back"] == told
