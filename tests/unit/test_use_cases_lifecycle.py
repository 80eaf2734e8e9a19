"""The use cases about the whole life of refs, over memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from service.adapters.memory.database import MemoryDatabase
from service.application.get_media import GetMedia
from service.application.list_media import ListMedia
from service.application.purge_due import ACTOR as WORKER
from service.application.purge_due import PurgeDue
from service.application.purge_media import PurgeMedia
from service.application.release_media import ReleaseMedia
from service.application.release_refs import ReleaseRefs
from service.application.reorder_role import ReorderRole
from service.application.restore_media import RestoreMedia
from service.application.revise_media import ReviseMedia
from service.domain.errors import Gone, NotTrashed, VersionConflict
from service.domain.event import DecisionKind
from service.domain.lifecycle import Revision
from service.domain.ref import RefState
from service.ports.catalogue import MediaFilter
from service.ports.idempotency import Replay
from tests.parts.house import House
from tests.parts.ledgers import (
    RULES,
    TRASH,
    Ledger,
    attach,
    book,
    claim_on,
    fresh,
    fresh_batch,
    memory_ledger,
    purge,
    ref_of,
    release_all,
    release_ref,
    reorder,
    restore,
    revise,
)

pytestmark = pytest.mark.anyio
BOOK = book("demo")


@dataclass
class Shelf:
    """A book with three pages, and a ledger to ask."""

    ledger: Ledger = field(default_factory=lambda: memory_ledger(MemoryDatabase()))
    ids: list[UUID] = field(default_factory=list)

    async def open(self) -> Shelf:
        await self.ledger.workspaces.ensure("demo")
        for content in ("one", "two", "three"):
            command = attach(BOOK, "pages", await self.ledger.hold("demo", content))
            self.ids.append(ref_of(await self.ledger.attach(command)).ref_id)
        return self

    async def order(self) -> list[UUID]:
        return [resolved.ref.ref_id for resolved in (await self.ledger.refs.of_entity(BOOK)).refs]


@pytest.fixture
async def shelf() -> Shelf:
    return await Shelf().open()


async def test_a_role_is_put_in_another_order(shelf: Shelf) -> None:
    reorder_role = ReorderRole(shelf.ledger.refs, RULES)
    outcome = fresh(await reorder_role(reorder(BOOK, "pages", shelf.ids[::-1], 3)))
    assert (outcome.decision, await shelf.order()) == (DecisionKind.REORDER, shelf.ids[::-1])


async def test_a_role_is_released_and_its_refs_come_back_one_by_one(shelf: Shelf) -> None:
    release_refs, restore_media = ReleaseRefs(shelf.ledger.refs, RULES), RestoreMedia(shelf.ledger.refs, RULES)
    assert fresh(await release_refs(release_all(BOOK))).version == 6
    assert await shelf.order() == []
    for ref_id in shelf.ids:
        assert fresh(await restore_media(restore("demo", ref_id))).decision is DecisionKind.RESTORE
    assert await shelf.order() == shelf.ids


async def test_a_ref_is_revised_released_and_purged_and_then_gone(shelf: Shelf) -> None:
    refs, ref_id = shelf.ledger.refs, shelf.ids[1]
    revised = fresh(await ReviseMedia(refs, RULES)(revise("demo", ref_id, Revision(alt="B"))))
    assert (revised.decision, ref_of(revised).labels.alt) == (DecisionKind.UPDATE, "B")
    with pytest.raises(NotTrashed):
        await PurgeMedia(refs, RULES)(purge("demo", ref_id))
    released = fresh(await ReleaseMedia(refs, RULES)(release_ref("demo", ref_id)))
    assert await GetMedia(refs)("demo", ref_id) == released.ref
    claim = claim_on("a key")
    purged = fresh(await PurgeMedia(refs, RULES)(purge("demo", ref_id), claim))
    assert purged.decision is DecisionKind.PURGE
    assert await PurgeMedia(refs, RULES)(purge("demo", ref_id), claim) == Replay(claim.render(purged))
    with pytest.raises(Gone):
        await GetMedia(refs)("demo", ref_id)


async def test_a_batch_happens_whole_or_not_at_all(shelf: Shelf, tmp_path: Path) -> None:
    house = House(tmp_path)
    house.ledger = shelf.ledger
    house.rewire()
    change_refs = house.change_refs
    first, second, third = shelf.ids
    done = await change_refs("demo", [release_ref("demo", first), reorder(BOOK, "pages", [third, second], 3)])
    assert [outcome.decision for outcome in fresh_batch(done)] == [DecisionKind.RELEASE, DecisionKind.REORDER]
    with pytest.raises(VersionConflict) as met:
        await change_refs("demo", [restore("demo", first), release_all(BOOK, version=1)])
    assert (met.value.index, await shelf.order()) == (1, [third, second])


async def test_the_list_shows_what_is_asked_for(shelf: Shelf) -> None:
    list_media = ListMedia(shelf.ledger.catalogue)
    await shelf.ledger.change(release_ref("demo", shelf.ids[0]))
    page = await list_media("demo", None, 1, MediaFilter(RefState.LIVE))
    rest = await list_media("demo", page.next_cursor, 1, MediaFilter(RefState.LIVE))
    assert [each.ref.ref_id for each in (*page.items, *rest.items)] == shelf.ids[:0:-1]
    assert rest.next_cursor is None


async def test_what_is_due_is_purged_a_batch_at_a_time(shelf: Shelf) -> None:
    purge_due = PurgeDue(shelf.ledger.trash)
    await shelf.ledger.change(release_all(BOOK))
    assert await purge_due(2) == 0
    await shelf.ledger.advance(TRASH)
    assert [await purge_due(2) for _ in range(3)] == [2, 1, 0]
    events = await shelf.ledger.events("demo")
    assert {event.actor for event in events[-3:]} == {WORKER}
    with pytest.raises(Gone):
        await shelf.ledger.refs.find("demo", shelf.ids[0])
    await shelf.ledger.advance(timedelta(days=90))
    assert await purge_due(2) == 0
    assert await shelf.ledger.refs.find("demo", shelf.ids[0]) is None
