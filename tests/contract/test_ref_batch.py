"""The contract of `RefLedger.change_all`: many operations, all of them or none, for every adapter."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from service.application.changes import Command
from service.domain.errors import (
    BlobNotHeld,
    Gone,
    IdempotencyKeyReuse,
    NotFound,
    PreconditionRequired,
    RefkeepError,
    SlotTaken,
    VersionConflict,
)
from service.domain.event import DecisionKind, RefEvent
from service.domain.lifecycle import Revision
from service.domain.slot import EntityKey
from service.ports.idempotency import Replay
from tests.parts.ledgers import (
    Ledger,
    attach,
    batch_claim_on,
    book,
    fresh_batch,
    new_hash,
    purge,
    ref_of,
    release,
    release_all,
    release_ref,
    reorder,
    restore,
    revise,
)

pytestmark = pytest.mark.anyio


async def filled(ledger: Ledger, entity: EntityKey, count: int, role: str = "pages") -> list[UUID]:
    """Append so many refs; their ids."""
    commands = [attach(entity, role, await ledger.hold(entity.workspace)) for _ in range(count)]
    return [ref_of(await ledger.attach(command)).ref_id for command in commands]


async def ids_of(ledger: Ledger, entity: EntityKey, role: str = "pages") -> list[UUID]:
    refs = [resolved.ref for resolved in (await ledger.refs.of_entity(entity, role)).refs]
    assert [ref.position for ref in refs] == list(range(len(refs)))
    return [ref.ref_id for ref in refs]


async def everything(ledger: Ledger, *entities: EntityKey) -> object:
    """How things stand, and how they came to."""
    listed = [await ledger.refs.of_entity(entity) for entity in entities]
    return listed, [await ledger.events(entity.workspace) for entity in entities]


async def test_each_operation_sees_what_those_before_it_did(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    one, two = book(workspace, 1), book(workspace, 2)
    first, second, third = await filled(ledger, one, 3)
    sha256 = await ledger.hold(workspace)
    commands: list[Command] = [
        reorder(one, "pages", [third, first, second], 3),
        release(one, "pages", 0, 4),
        attach(two, "cover", sha256, 0),
        attach(two, "cover", sha256, 0),
        restore(workspace, third),
        revise(workspace, first, Revision(alt="B")),
        release_all(two),
        release_ref(workspace, second),
        attach(one, "pages", sha256, 1, shift=True, version=8),
    ]
    outcomes = fresh_batch(await ledger.change_all(workspace, commands))
    assert [outcome.decision.value for outcome in outcomes] == [
        *("reorder", "release", "insert", "noop", "restore", "update", "release", "release", "insert")
    ]
    assert [outcome.version for outcome in outcomes] == [4, 5, 1, 1, 6, 7, 2, 8, 9]
    inserted = ref_of(outcomes[-1])
    assert await ids_of(ledger, one) == [third, inserted.ref_id, first]
    assert (await ledger.refs.of_entity(two)).refs == ()
    events = [event for event in await ledger.events(workspace) if isinstance(event, RefEvent)][3:]
    assert [event.version for event in events] == [4, 5, 1, 6, 7, 2, 8, 9]
    told = [outcome.event_id for outcome in outcomes if outcome.event_id is not None]
    assert len(set(told)) == len(told) == len(events)


async def test_several_events_of_one_operation_leave_room_for_those_of_the_next(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    one, two = book(workspace, 1), book(workspace, 2)
    await filled(ledger, one, 3)
    await filled(ledger, two, 2)
    outcomes = fresh_batch(await ledger.change_all(workspace, [release_all(one), release_all(two), release_all(one)]))
    assert [(outcome.decision, outcome.version) for outcome in outcomes] == [
        (DecisionKind.RELEASE, 6),
        (DecisionKind.RELEASE, 4),
        (DecisionKind.NOOP, 6),
    ]
    events = [event for event in await ledger.events(workspace) if isinstance(event, RefEvent)]
    assert [event.version for event in events if event.entity == one] == [1, 2, 3, 4, 5, 6]
    assert [event.version for event in events if event.entity == two] == [1, 2, 3, 4]


async def test_a_version_before_the_batch_is_good_for_all_of_it(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity = book(workspace)
    first, *_ = await filled(ledger, entity, 3)
    outcomes = fresh_batch(
        await ledger.change_all(workspace, [release(entity, "pages", 2, 3), release(entity, "pages", 1, 3)])
    )
    assert [outcome.version for outcome in outcomes] == [4, 5]
    assert await ids_of(ledger, entity) == [first]
    with pytest.raises(VersionConflict) as stale:
        await ledger.change_all(workspace, [attach(entity, "pages", new_hash(), 0, version=4)])
    assert stale.value.index == 0


async def refused(ledger: Ledger, workspace: str, commands: list[Command]) -> RefkeepError:
    with pytest.raises(RefkeepError) as met:
        await ledger.change_all(workspace, commands)
    return met.value


async def test_the_first_problem_has_its_index_and_nothing_has_changed(ledger: Ledger) -> None:
    workspace, other = await ledger.workspace(), await ledger.workspace()
    one, two = book(workspace, 1), book(workspace, 2)
    [cover], pages = await filled(ledger, one, 1, "cover"), await filled(ledger, two, 2)
    await ledger.change(release_ref(workspace, cover))
    await filled(ledger, one, 1, "cover")
    [gone] = await filled(ledger, one, 1)
    await ledger.change(release_ref(workspace, gone))
    await ledger.change(purge(workspace, gone))
    [foreign] = await filled(ledger, book(other), 1)
    sound: list[Command] = [release_all(two), attach(two, "pages", await ledger.hold(workspace)), release_all(one)]
    before = await everything(ledger, one, two)
    problems: list[tuple[Command, type[RefkeepError]]] = [
        (release(two, "pages", 0), PreconditionRequired),
        (reorder(two, "pages", pages, 1), VersionConflict),
        (restore(workspace, gone), Gone),
        (restore(workspace, uuid4()), NotFound),
        (release_ref(workspace, foreign), NotFound),
    ]
    for problem, kind in problems:
        error = await refused(ledger, workspace, [*sound[1:2], problem, *sound, restore(workspace, uuid4())])
        assert (type(error), error.index) == (kind, 1)
        assert await everything(ledger, one, two) == before


async def test_a_reject_undoes_the_batch_and_goes_on_record(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    one, two = book(workspace, 1), book(workspace, 2)
    [old] = await filled(ledger, one, 1, "cover")
    await ledger.change(release_ref(workspace, old))
    await filled(ledger, one, 1, "cover")
    listed = [await ledger.refs.of_entity(entity) for entity in (one, two)]
    events = await ledger.events(workspace)
    held = await ledger.hold(workspace)
    fine = attach(two, "pages", held)
    missing = attach(one, "notes", new_hash())
    error = await refused(ledger, workspace, [fine, release_all(two), missing, restore(workspace, old)])
    assert (type(error), error.index) == (BlobNotHeld, 2)
    taken = await refused(ledger, workspace, [fine, attach(one, "notes", held), restore(workspace, old), missing])
    assert (type(taken), taken.index) == (SlotTaken, 2)
    assert [await ledger.refs.of_entity(entity) for entity in (one, two)] == listed
    recorded = [event for event in (await ledger.events(workspace))[len(events) :] if isinstance(event, RefEvent)]
    assert [(event.code, event.version, event.entity) for event in recorded] == [
        ("blob-not-held", 3, one),
        ("slot-taken", 3, one),
    ]


async def test_a_batch_is_answered_once(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity = book(workspace)
    sha256 = await ledger.hold(workspace)
    commands: list[Command] = [attach(entity, "pages", sha256), attach(entity, "pages", sha256)]
    claim = batch_claim_on("twice")
    outcomes = fresh_batch(await ledger.change_all(workspace, commands, claim))
    assert await ledger.change_all(workspace, commands, claim) == Replay(claim.render(outcomes))
    with pytest.raises(IdempotencyKeyReuse):
        await ledger.change_all(workspace, commands, batch_claim_on("twice", "another"))
    assert len(await ids_of(ledger, entity)) == 2


async def test_a_refused_batch_is_judged_anew(ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    entity = book(workspace)
    claim = batch_claim_on("try again")
    with pytest.raises(BlobNotHeld):
        await ledger.change_all(workspace, [attach(entity, "cover", sha256, 0)], claim)
    await ledger.publish(workspace, sha256)
    [outcome] = fresh_batch(await ledger.change_all(workspace, [attach(entity, "cover", sha256, 0)], claim))
    assert outcome.version == 1


async def test_an_empty_batch_and_one_of_nobody_change_nothing(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    assert await ledger.change_all(workspace, [], batch_claim_on("nothing")) == ()
    assert isinstance(await ledger.change_all(workspace, [], batch_claim_on("nothing")), Replay)
    with pytest.raises(NotFound):
        await ledger.change_all("nobody", [])
    assert await ledger.events(workspace) == []
