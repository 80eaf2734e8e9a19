"""The contract of `service.ports.trash`, for every adapter."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from service.application.purge_due import ACTOR as WORKER
from service.domain.errors import Gone
from service.domain.event import EventType, RefEvent
from service.domain.ref import RefState
from service.ports.catalogue import MediaFilter
from tests.parts.ledgers import (
    TRASH,
    Ledger,
    attach,
    book,
    purge,
    ref_of,
    release_all,
    release_ref,
    restore,
)

pytestmark = pytest.mark.anyio
ANY = MediaFilter()


@pytest.fixture(autouse=True)
async def emptied(ledger: Ledger) -> None:
    """What other tests left in the trash of this database is not this one's affair."""
    while await ledger.purge_due(1000):
        pass


async def trashed(ledger: Ledger, workspace: str, *numbers: int) -> list[UUID]:
    """A ref of each of these books that has just been released."""
    ids = []
    for number in numbers:
        made = ref_of(await ledger.attach(attach(book(workspace, number), "pages", await ledger.hold(workspace))))
        await ledger.change(release_ref(workspace, made.ref_id))
        ids.append(made.ref_id)
    return ids


async def is_gone(ledger: Ledger, workspace: str, ref_id: UUID) -> bool:
    try:
        return await ledger.refs.find(workspace, ref_id) is None
    except Gone:
        return True


async def test_a_ref_stays_in_the_trash_until_its_time_is_over(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    [ref_id] = await trashed(ledger, workspace, 1)
    await ledger.advance(TRASH - timedelta(minutes=1))
    assert await ledger.purge_due() == 0
    assert not await is_gone(ledger, workspace, ref_id)
    await ledger.advance(timedelta(minutes=2))
    assert await ledger.purge_due() == 1
    assert await is_gone(ledger, workspace, ref_id)
    *_, event = await ledger.events(workspace)
    assert isinstance(event, RefEvent)
    assert (event.type, event.version, event.actor) == (EventType.REF_PURGED, 3, WORKER)
    assert await ledger.purge_due() == 0


async def test_live_and_restored_refs_are_never_due(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity = book(workspace)
    live = ref_of(await ledger.attach(attach(entity, "cover", await ledger.hold(workspace), 0)))
    [back] = await trashed(ledger, workspace, 42)
    await ledger.change(restore(workspace, back))
    await ledger.advance(2 * TRASH)
    assert await ledger.purge_due() == 0
    assert [ref.ref.ref_id for ref in (await ledger.refs.of_entity(entity)).refs] == [live.ref_id, back]
    await ledger.change(release_ref(workspace, back))
    assert await ledger.purge_due() == 0


async def test_many_refs_of_many_entities_and_workspaces_are_purged_in_one_batch(ledger: Ledger) -> None:
    one, two = await ledger.workspace(), await ledger.workspace()
    ids = {one: await trashed(ledger, one, 1, 1, 2, 1), two: await trashed(ledger, two, 1, 1)}
    await ledger.advance(TRASH)
    assert await ledger.purge_due() == 6
    for workspace, found in ids.items():
        assert all([await is_gone(ledger, workspace, ref_id) for ref_id in found])
    for entity, versions in ((book(one, 1), 9), (book(one, 2), 3), (book(two, 1), 6)):
        events = [event for event in await ledger.events(entity.workspace) if isinstance(event, RefEvent)]
        assert [event.version for event in events if event.entity == entity] == [*range(1, versions + 1)]
        assert (await ledger.refs.of_entity(entity)).version == versions


async def test_a_batch_takes_the_longest_due_first_and_no_more_than_its_limit(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    ids = []
    for number in range(4):
        ids += await trashed(ledger, workspace, number)
        await ledger.advance(timedelta(minutes=1))
    await ledger.advance(TRASH)
    for purged in (2, 4):
        assert await ledger.purge_due(2) == 2
        gone = [await is_gone(ledger, workspace, ref_id) for ref_id in ids]
        assert gone == [True] * purged + [False] * (4 - purged)
    assert await ledger.purge_due(2) == 0


async def test_a_released_entity_is_purged_whole(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity = book(workspace)
    for role in ("cover", "pages", "pages", "notes"):
        await ledger.attach(attach(entity, role, await ledger.hold(workspace)))
    await ledger.change(release_all(entity))
    await ledger.advance(TRASH)
    assert await ledger.purge_due() == 4
    assert (await ledger.refs.of_entity(entity)).version == 12


async def test_tombstones_are_forgotten_after_90_days_and_not_before(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    await ledger.trash.forget_tombstones(1000)
    for ref_id in await trashed(ledger, workspace, 1, 2, 3):
        await ledger.change(purge(workspace, ref_id))
    await ledger.advance(timedelta(days=90) - timedelta(minutes=1))
    while await ledger.trash.forget_tombstones(1000):
        pass  # those of other tests
    await ledger.advance(timedelta(minutes=2))
    assert [await ledger.trash.forget_tombstones(2) for _ in range(3)] == [2, 1, 0]


async def test_what_is_purged_is_in_no_list(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    [ref_id] = await trashed(ledger, workspace, 1)
    assert [ref.ref.state for ref in (await ledger.catalogue.page(workspace, None, 9, ANY)).items] == [RefState.TRASHED]
    await ledger.change(purge(workspace, ref_id))
    assert (await ledger.catalogue.page(workspace, None, 9, ANY)).items == ()
