"""Refs of one entity changed by many at once, the end of the trash among them, on connections of their own."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import pytest

from service.adapters.postgres.database import Database
from service.adapters.postgres.descriptors import PostgresDescriptors
from service.adapters.postgres.trash import PostgresTrash
from service.application.changes import Command
from service.application.purge_due import PurgeDue
from service.domain.errors import Gone, NotTrashed, RefkeepError, RoleFull, VersionConflict
from service.domain.event import DecisionKind, RefEvent
from service.domain.ref import RefState
from service.domain.slot import EntityKey
from service.ports.catalogue import MediaFilter
from service.ports.descriptors import MediaDescriptor, PurgedMedia
from service.ports.refs import RefOutcome
from tests.parts.audit import ledger_flaws
from tests.parts.ledgers import (
    TRASH,
    Ledger,
    attach,
    book,
    fresh,
    opened_for_a_crowd,
    postgres_ledger,
    purge,
    ref_of,
    release,
    release_all,
    release_ref,
    reorder,
    restore,
    set_clock_ahead,
)
from tests.parts.postgres import lock_waiters, session

pytestmark = pytest.mark.anyio

CROWD = 30
T = TypeVar("T")


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    async with opened_for_a_crowd(database_url, CROWD) as database:
        yield database


@pytest.fixture
async def ledger(database: Database) -> AsyncIterator[Ledger]:
    """The ledgers; their clock goes right again afterwards."""
    yield postgres_ledger(database)
    await set_clock_ahead(database, timedelta())


async def outcomes(calls: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """What all calls return or raise, made at the same time."""
    return await asyncio.gather(*calls, return_exceptions=True)


async def filled(ledger: Ledger, entity: EntityKey, count: int, role: str = "notes") -> list[UUID]:
    sha256 = await ledger.hold(entity.workspace)
    return [ref_of(await ledger.attach(attach(entity, role, sha256))).ref_id for _ in range(count)]


async def dense(ledger: Ledger, entity: EntityKey, role: str = "notes") -> list[UUID]:
    """The role's refs, whose positions must be dense, as the versions in the log must be."""
    listed = await ledger.refs.of_entity(entity)
    refs = [resolved.ref for resolved in listed.refs if resolved.ref.role == role]
    assert [ref.position for ref in refs] == list(range(len(refs)))
    events = [event for event in await ledger.events(entity.workspace) if isinstance(event, RefEvent)]
    versions = [event.version for event in events if event.entity == entity and event.code is None]
    assert versions == list(range(1, listed.version + 1))
    return [ref.ref_id for ref in refs]


@pytest.mark.parametrize("attempt", range(5))
async def test_of_restore_and_purge_exactly_one_wins(database: Database, ledger: Ledger, attempt: int) -> None:
    workspace = await ledger.workspace()
    ids = [(await filled(ledger, book(workspace, number), 1))[0] for number in range(CROWD // 2)]
    for ref_id in ids:
        await ledger.change(release_ref(workspace, ref_id))
    calls = [command(workspace, ref_id) for ref_id in ids for command in (restore, purge)]
    random.Random(attempt).shuffle(calls)
    results = await outcomes(ledger.change(call) for call in calls)
    ends = {ref_id: set[object]() for ref_id in ids}
    for call, result in zip(calls, results, strict=True):
        ends[call.ref_id].add(result.decision if isinstance(result, RefOutcome) else type(result))
    restored, purged = {DecisionKind.RESTORE, NotTrashed}, {DecisionKind.PURGE, Gone}
    assert all(end in (restored, purged) for end in ends.values())
    for number, ref_id in enumerate(ids):
        assert (await dense(ledger, book(workspace, number)) == [ref_id]) is (ends[ref_id] == restored)
    assert await ledger_flaws(database) == []


async def test_of_restore_and_the_end_of_time_exactly_one_wins(database: Database, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    ids = [(await filled(ledger, book(workspace, number), 1))[0] for number in range(CROWD // 2)]
    for ref_id in ids:
        await ledger.change(release_ref(workspace, ref_id))
    await ledger.advance(2 * TRASH)

    async def sweep() -> int:
        return sum([await ledger.purge_due(4) for _ in range(CROWD)])

    results = await outcomes([sweep(), sweep(), *(ledger.change(restore(workspace, ref_id)) for ref_id in ids)])
    assert {type(result) for result in results} <= {int, RefOutcome, Gone}
    restored = sum(isinstance(result, RefOutcome) for result in results)
    swept = sum(result for result in results if isinstance(result, int))
    assert restored + swept == len(ids)
    page = await ledger.catalogue.page(workspace, None, 500, MediaFilter())
    assert [resolved.ref.state for resolved in page.items] == [RefState.LIVE] * restored
    assert await ledger_flaws(database) == []


async def test_a_due_ref_that_somebody_changes_is_left_for_the_next_time(
    database: Database, database_url: str, ledger: Ledger
) -> None:
    workspace = await ledger.workspace()
    entity, other = book(workspace, 1), book(workspace, 2)
    [busy], [idle] = await filled(ledger, entity, 1), await filled(ledger, other, 1)
    for ref_id in (busy, idle):
        await ledger.change(release_ref(workspace, ref_id))
    await ledger.advance(2 * TRASH)
    async with session(database_url) as holder:
        await holder.execute("BEGIN; SELECT 1 FROM refs WHERE id = $$%s$$ FOR UPDATE" % busy)  # noqa: UP031
        changing = asyncio.create_task(ledger.change(restore(workspace, busy)))
        await lock_waiters(holder)
        assert await ledger.purge_due() == 1
        await holder.execute("ROLLBACK")
        assert fresh(await changing).decision is DecisionKind.RESTORE
    assert await dense(ledger, entity) == [busy]
    with pytest.raises(Gone):
        await ledger.refs.find(workspace, idle)
    assert await ledger_flaws(database) == []


async def test_orders_and_appends_at_once_are_dense_and_lose_nobody(database: Database, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity = book(workspace)
    ids, sha256 = await filled(ledger, entity, 6), await ledger.hold(workspace)

    async def turn() -> RefOutcome:
        while True:
            listed = await ledger.refs.of_entity(entity, "notes")
            order = [resolved.ref.ref_id for resolved in listed.refs][::-1]
            try:
                return fresh(await ledger.change(reorder(entity, "notes", order, listed.version)))
            except VersionConflict:
                continue

    async def append() -> RefOutcome:
        return await ledger.attach(attach(entity, "notes", sha256))

    async def drop(ref_id: UUID) -> RefOutcome:
        return fresh(await ledger.change(release_ref(workspace, ref_id)))

    made = await outcomes(
        [*(turn() for _ in range(6)), *(append() for _ in range(12)), *(drop(each) for each in ids[:3])]
    )
    assert [each for each in made if isinstance(each, BaseException)] == []
    assert len(await dense(ledger, entity)) == 6 + 12 - 3
    assert await ledger_flaws(database) == []


async def test_many_who_restore_into_one_list_fill_it_and_not_beyond(database: Database, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity = book(workspace)
    ids = [*await filled(ledger, entity, 8, "pages")]
    await ledger.change(release_all(entity))
    ids += await filled(ledger, entity, 5, "pages")
    results = await outcomes(ledger.change(restore(workspace, ref_id)) for ref_id in ids[:8])
    assert Counter(type(result) for result in results) == {RefOutcome: 3, RoleFull: 5}
    assert len(await dense(ledger, entity, "pages")) == 8
    assert await ledger_flaws(database) == []


async def test_batches_over_the_same_entities_in_any_order_wait_for_each_other_and_never_in_a_circle(
    database: Database, ledger: Ledger
) -> None:
    workspace = await ledger.workspace()
    entities = [book(workspace, number) for number in range(4)]
    hashes = [await ledger.hold(workspace) for _ in range(4)]
    ids = [(await filled(ledger, entity, 1))[0] for entity in entities]
    dice = random.Random(7)

    def batch() -> list[Command]:
        appends: list[Command] = [attach(entity, "notes", dice.choice(hashes)) for entity in entities]
        ordered = ids[:: dice.choice((1, -1))]
        cycles: list[Command] = [ask(workspace, ref_id) for ref_id in ordered for ask in (release_ref, restore)]
        dice.shuffle(appends)
        return [*appends, *cycles]

    def single() -> Awaitable[object]:
        return ledger.change(attach(dice.choice(entities), "notes", dice.choice(hashes)))

    calls: list[Callable[[], Awaitable[object]]] = [lambda: ledger.change_all(workspace, batch())] * 10 + [single] * 20
    results = await outcomes(call() for call in calls)
    assert [each for each in results if isinstance(each, BaseException)] == []
    assert sum([len(await dense(ledger, entity)) for entity in entities]) == 4 + 10 * 4 + 20
    assert await ledger_flaws(database) == []


async def test_a_batch_that_is_refused_leaves_nothing_for_those_who_waited(database: Database, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity, sha256 = book(workspace), await ledger.hold(workspace)

    def batch(number: int) -> list[Command]:
        good: list[Command] = [attach(entity, "notes", sha256)]
        return good if number % 2 else [*good, release(entity, "notes", 0, version=99)]

    results = await outcomes(ledger.change_all(workspace, batch(number)) for number in range(20))
    refused = [result for result in results if isinstance(result, RefkeepError)]
    assert {(type(error), error.index) for error in refused} == {(VersionConflict, 1)}
    assert len(refused) == 10
    versions = [result[0].version for result in results if isinstance(result, tuple)]
    assert sorted(versions) == list(range(1, 11))
    assert len(await dense(ledger, entity)) == 10


async def test_the_tombstone_of_a_ref_tells_its_own_workspace_alone(database: Database, ledger: Ledger) -> None:
    descriptors = PostgresDescriptors(database)
    mine, theirs = await ledger.workspace(), await ledger.workspace()
    [ref_id] = await filled(ledger, book(mine), 1)
    assert isinstance(await descriptors.of_ref(ref_id, mine), MediaDescriptor)
    await ledger.change(release_ref(mine, ref_id))
    await ledger.change(purge(mine, ref_id))
    asked = [await descriptors.of_ref(ref_id, workspace) for workspace in (mine, theirs, None)]
    assert asked == [PurgedMedia(owned=True), PurgedMedia(owned=False), PurgedMedia(owned=False)]
    await ledger.advance(timedelta(days=90))
    assert await descriptors.of_ref(ref_id, mine) is None


async def test_a_purge_asks_for_a_review_of_its_holding(database: Database, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    ids = await filled(ledger, book(workspace), 2)
    await ledger.change(release_all(book(workspace)))
    query = """SELECT count(*) FROM holding_reviews r JOIN workspaces w ON w.id = r.workspace_id
        WHERE w.slug = $1 AND r.due <= refkeep_now()"""
    before = await database.fetchrow(query, workspace)
    await ledger.change(purge(workspace, ids[0]))
    await ledger.advance(2 * TRASH)
    await ledger.purge_due()
    after = await database.fetchrow(query, workspace)
    assert before is not None
    assert after is not None
    assert after["count"] - before["count"] >= 2


_TICKING = """
CREATE SEQUENCE ticks;
CREATE OR REPLACE FUNCTION refkeep_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    $$ SELECT date_trunc('milliseconds', clock_timestamp()) + interval '60 days' + nextval('ticks') * interval '1 ms' $$
"""


async def test_what_is_purged_together_is_purged_at_one_time(database: Database, ledger: Ledger) -> None:
    one, other = await ledger.workspace(), await ledger.workspace()
    for entity in (book(one), book(other)):
        await filled(ledger, entity, 5)
        await ledger.change(release_all(entity))
    async with database.connection() as connection:
        await connection.execute(_TICKING)
    while await PurgeDue(PostgresTrash(database))(100):
        pass
    await ledger.advance(timedelta(days=60))  # the clock that ticks writes, and the audit may not
    assert await ledger_flaws(database) == [], "a tombstone has another time than its event"
