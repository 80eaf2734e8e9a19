"""The contract of `service.ports.refs` for refs by their ids and whole roles, for every adapter."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from service.application.changes import Command
from service.domain.errors import (
    Gone,
    IdempotencyKeyReuse,
    InTrash,
    NotAPermutation,
    NotFound,
    NotTrashed,
    PreconditionRequired,
    RefkeepError,
    RoleFull,
    SlotTaken,
    VersionConflict,
)
from service.domain.event import DecisionKind, EventType, RefEvent
from service.domain.lifecycle import Revision
from service.domain.policy import Visibility
from service.domain.ref import Labels, RefState
from service.domain.slot import EntityKey
from service.ports.idempotency import Replay
from tests.parts.ledgers import (
    ACTOR,
    Ledger,
    attach,
    book,
    claim_on,
    fresh,
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
    workspace = entity.workspace
    commands = [attach(entity, role, await ledger.hold(workspace)) for _ in range(count)]
    return [ref_of(await ledger.attach(command)).ref_id for command in commands]


async def order(ledger: Ledger, entity: EntityKey, role: str = "pages") -> list[UUID]:
    """The ids of a role's live refs, whose positions must be dense."""
    refs = [resolved.ref for resolved in (await ledger.refs.of_entity(entity, role)).refs]
    assert [ref.position for ref in refs] == list(range(len(refs)))
    return [ref.ref_id for ref in refs]


async def version(ledger: Ledger, entity: EntityKey) -> int:
    return (await ledger.refs.of_entity(entity)).version


async def types(ledger: Ledger, workspace: str) -> list[str]:
    """What happened to refs, in order."""
    events = [event for event in await ledger.events(workspace) if isinstance(event, RefEvent)]
    return [event.type.removeprefix("refkeep.ref.").removesuffix(".v1") for event in events]


# --- reorder ----------------------------------------------------------------------------------------------------------


async def test_a_new_order_moves_the_refs_and_is_one_event(ledger: Ledger) -> None:
    entity = book(await ledger.workspace())
    first, second, third = await filled(ledger, entity, 3)
    others = await filled(ledger, entity, 2, "notes")
    outcome = fresh(await ledger.change(reorder(entity, "pages", [third, first, second], 5)))
    assert (outcome.decision, outcome.version, outcome.ref) == (DecisionKind.REORDER, 6, None)
    assert outcome.refs == (await ledger.refs.of_entity(entity, "pages")).refs
    assert await order(ledger, entity) == [third, first, second]
    assert await order(ledger, entity, "notes") == others
    *_, event = await ledger.events(entity.workspace)
    assert isinstance(event, RefEvent)
    assert (event.type, event.role, event.version) == (EventType.REF_REORDERED, "pages", 6)
    assert (event.ref_ids, event.ref, event.sha256) == ((third, first, second), None, None)


async def test_the_same_order_is_a_noop(ledger: Ledger) -> None:
    entity = book(await ledger.workspace())
    ids = await filled(ledger, entity, 2)
    outcome = fresh(await ledger.change(reorder(entity, "pages", ids, 2)))
    assert (outcome.decision, outcome.event_id, outcome.version) == (DecisionKind.NOOP, None, 2)
    assert outcome.refs == (await ledger.refs.of_entity(entity)).refs
    nothing = fresh(await ledger.change(reorder(entity, "notes", [], 2)))
    assert (nothing.decision, nothing.refs) == (DecisionKind.NOOP, ())


async def test_an_order_that_is_no_permutation_is_refused_on_record(ledger: Ledger) -> None:
    entity = book(await ledger.workspace())
    ids = await filled(ledger, entity, 2)
    for wrong in ([ids[0]], [*ids, ids[0]], [*ids, uuid4()]):
        with pytest.raises(NotAPermutation):
            await ledger.change(reorder(entity, "pages", wrong, 2))
    with pytest.raises(PreconditionRequired):
        await ledger.change(reorder(entity, "pages", ids[::-1]))
    with pytest.raises(VersionConflict):
        await ledger.change(reorder(entity, "pages", ids[::-1], 1))
    assert (await order(ledger, entity), await version(ledger, entity)) == (ids, 2)
    assert await types(ledger, entity.workspace) == ["inserted", "inserted", "rejected"]


# --- release ----------------------------------------------------------------------------------------------------------


async def test_a_release_of_a_role_is_an_event_for_each_ref(ledger: Ledger) -> None:
    entity = book(await ledger.workspace())
    pages, notes = await filled(ledger, entity, 3), await filled(ledger, entity, 1, "notes")
    outcome = fresh(await ledger.change(release_all(entity, "pages")))
    assert (outcome.decision, outcome.version) == (DecisionKind.RELEASE, 7)
    assert outcome.refs is not None
    assert [resolved.ref.ref_id for resolved in outcome.refs] == pages
    assert [resolved.ref.former_position for resolved in outcome.refs] == [0, 1, 2]
    assert [await ledger.refs.find(entity.workspace, ref_id) for ref_id in pages] == [*outcome.refs]
    assert (await order(ledger, entity), await order(ledger, entity, "notes")) == ([], notes)
    events = [event for event in await ledger.events(entity.workspace) if isinstance(event, RefEvent)]
    assert [event.version for event in events] == [1, 2, 3, 4, 5, 6, 7]
    assert [event.ref.ref_id for event in events[4:] if event.ref] == pages[::-1]


async def test_a_release_of_an_entity_leaves_nothing_live(ledger: Ledger) -> None:
    entity, other = book(await ledger.workspace()), book(await ledger.workspace())
    for role, count in (("pages", 2), ("cover", 1), ("notes", 2)):
        await filled(ledger, entity, count, role)
    kept = await filled(ledger, other, 1)
    outcome = fresh(await ledger.change(release_all(entity)))
    assert outcome.refs is not None
    assert [(resolved.ref.role, resolved.ref.former_position) for resolved in outcome.refs] == [
        ("cover", 0),
        ("notes", 0),
        ("notes", 1),
        ("pages", 0),
        ("pages", 1),
    ]
    assert (await ledger.refs.of_entity(entity)).refs == ()
    assert await version(ledger, entity) == outcome.version == 10
    assert await order(ledger, other) == kept


async def test_a_release_where_nothing_is_left_is_a_noop(ledger: Ledger) -> None:
    entity = book(await ledger.workspace())
    never = fresh(await ledger.change(release_all(entity)))
    [ref_id] = await filled(ledger, entity, 1)
    await ledger.change(release_all(entity))
    again = fresh(await ledger.change(release_all(entity, version=1)))
    by_id = fresh(await ledger.change(release_ref(entity.workspace, ref_id, version=1)))
    assert (never.decision, never.version, never.refs, never.event_id) == (DecisionKind.NOOP, 0, (), None)
    assert (again.decision, again.version, again.refs, again.event_id) == (DecisionKind.NOOP, 2, (), None)
    assert (by_id.decision, by_id.version, by_id.event_id) == (DecisionKind.NOOP, 2, None)
    assert by_id.ref == await ledger.refs.find(entity.workspace, ref_id)


async def test_a_release_by_id_closes_the_gap(ledger: Ledger) -> None:
    entity = book(await ledger.workspace())
    first, second, third = await filled(ledger, entity, 3)
    outcome = fresh(await ledger.change(release_ref(entity.workspace, second)))
    assert (outcome.decision, outcome.version, ref_of(outcome).former_position) == (DecisionKind.RELEASE, 4, 1)
    assert await order(ledger, entity) == [first, third]


# --- revise -----------------------------------------------------------------------------------------------------------


async def test_a_revision_changes_the_words_of_the_same_ref(ledger: Ledger) -> None:
    entity = book(await ledger.workspace())
    workspace, labels = entity.workspace, Labels("a.png", "A", "me")
    made = ref_of(await ledger.attach(attach(entity, "cover", await ledger.hold(workspace), 0, labels=labels)))
    asked = Revision(filename=None, alt="B", visibility=Visibility.PRIVATE)
    outcome = fresh(await ledger.change(revise(workspace, made.ref_id, asked)))
    ref = ref_of(outcome)
    assert (outcome.decision, outcome.version, ref.ref_id) == (DecisionKind.UPDATE, 2, made.ref_id)
    assert (ref.labels, ref.visibility, ref.position) == (Labels(None, "B", "me"), Visibility.PRIVATE, 0)
    assert await ledger.refs.find(workspace, made.ref_id) == outcome.ref
    assert fresh(await ledger.change(revise(workspace, made.ref_id, asked))).decision is DecisionKind.NOOP
    await ledger.change(release_ref(workspace, made.ref_id))
    with pytest.raises(InTrash):
        await ledger.change(revise(workspace, made.ref_id, asked))


# --- restore ----------------------------------------------------------------------------------------------------------


async def test_a_restore_gives_back_the_ref_as_it_was(ledger: Ledger) -> None:
    entity = book(await ledger.workspace())
    workspace = entity.workspace
    ids = await filled(ledger, entity, 3)
    before = await ledger.refs.find(workspace, ids[1])
    await ledger.change(release_ref(workspace, ids[1]))
    outcome = fresh(await ledger.change(restore(workspace, ids[1])))
    assert (outcome.decision, outcome.version, outcome.ref) == (DecisionKind.RESTORE, 5, before)
    assert await ledger.refs.find(workspace, ids[1]) == before
    assert await order(ledger, entity) == ids
    again = fresh(await ledger.change(restore(workspace, ids[1], version=1)))
    assert (again.decision, again.ref, again.event_id) == (DecisionKind.NOOP, before, None)


async def test_a_role_released_and_restored_in_any_order_is_dense_throughout(ledger: Ledger) -> None:
    entity = book(await ledger.workspace())
    ids = await filled(ledger, entity, 5)
    await ledger.change(release_all(entity, "pages"))
    expected: list[UUID] = []
    for number in (3, 0, 4, 2, 1):
        await ledger.change(restore(entity.workspace, ids[number]))
        expected.insert(min(number, len(expected)), ids[number])
        assert await order(ledger, entity) == expected


async def test_a_full_list_and_a_taken_slot_take_nothing_back(ledger: Ledger) -> None:
    entity = book(await ledger.workspace())
    workspace = entity.workspace
    [page, *_], [cover] = await filled(ledger, entity, 8), await filled(ledger, entity, 1, "cover")
    for ref_id in (page, cover):
        await ledger.change(release_ref(workspace, ref_id))
    await filled(ledger, entity, 1)
    [shown] = await filled(ledger, entity, 1, "cover")
    with pytest.raises(RoleFull):
        await ledger.change(restore(workspace, page))
    with pytest.raises(SlotTaken) as taken:
        await ledger.change(restore(workspace, cover))
    assert taken.value.ref_id == shown
    outcome = fresh(await ledger.change(restore(workspace, cover, replaces=True)))
    assert outcome.decision is DecisionKind.RESTORE
    assert outcome.replaced is not None
    replaced = outcome.replaced.ref
    assert (replaced.ref_id, replaced.state, replaced.former_position) == (shown, RefState.TRASHED, 0)
    assert await ledger.refs.find(workspace, shown) == outcome.replaced
    assert await order(ledger, entity, "cover") == [cover]


# --- purge ------------------------------------------------------------------------------------------------------------


async def test_a_purged_ref_is_gone_for_90_days_and_then_unknown(ledger: Ledger) -> None:
    entity = book(await ledger.workspace())
    workspace = entity.workspace
    [ref_id] = await filled(ledger, entity, 1)
    await ledger.change(release_ref(workspace, ref_id))
    trashed = await ledger.refs.find(workspace, ref_id)
    outcome = fresh(await ledger.change(purge(workspace, ref_id)))
    assert (outcome.decision, outcome.version, outcome.ref) == (DecisionKind.PURGE, 3, trashed)
    calls: list[Command] = [release_ref(workspace, ref_id), restore(workspace, ref_id), purge(workspace, ref_id)]
    for command in calls:
        with pytest.raises(Gone):
            await ledger.change(command)
    with pytest.raises(Gone):
        await ledger.refs.find(workspace, ref_id)
    assert await ledger.trash.forget_tombstones(10) == 0
    await ledger.advance(timedelta(days=90))
    for command in calls:
        with pytest.raises(NotFound):
            await ledger.change(command)
    assert await ledger.refs.find(workspace, ref_id) is None
    assert (await version(ledger, entity), await types(ledger, workspace)) == (3, ["inserted", "released", "purged"])


async def test_a_live_ref_is_not_purged(ledger: Ledger) -> None:
    entity = book(await ledger.workspace())
    [ref_id] = await filled(ledger, entity, 1)
    with pytest.raises(NotTrashed):
        await ledger.change(purge(entity.workspace, ref_id))
    assert await order(ledger, entity) == [ref_id]


async def test_once_its_refs_are_purged_a_holding_can_be_given_up(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    sha256 = await ledger.hold(workspace)
    made = ref_of(await ledger.attach(attach(book(workspace), "cover", sha256, 0)))
    await ledger.change(release(book(workspace), "cover", 0))
    await ledger.change(purge(workspace, made.ref_id))
    assert await ledger.refs.of_blob(workspace, sha256) == ()
    assert await ledger.blobs.release(workspace, sha256, ACTOR)


# --- by id ------------------------------------------------------------------------------------------------------------


async def test_a_ref_of_another_workspace_is_as_unknown_as_one_that_never_was(ledger: Ledger) -> None:
    mine, theirs = await ledger.workspace(), await ledger.workspace()
    [ref_id] = await filled(ledger, book(theirs), 1)
    told = set()
    for asked in (ref_id, uuid4()):
        for command in (
            release_ref(mine, asked),
            restore(mine, asked),
            purge(mine, asked),
            revise(mine, asked, Revision(alt="B")),
        ):
            with pytest.raises(RefkeepError) as refused:
                await ledger.change(command)
            told.add((type(refused.value), str(refused.value)))
    await ledger.change(release_ref(theirs, ref_id))
    await ledger.change(purge(theirs, ref_id))
    with pytest.raises(NotFound) as purged:
        await ledger.change(restore(mine, ref_id))
    assert told == {(NotFound, str(purged.value))}
    assert await ledger.refs.find(mine, ref_id) is None


async def test_an_unknown_workspace_knows_no_ref(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        await ledger.change(restore("nobody", uuid4()))


async def test_a_version_that_is_said_is_heeded(ledger: Ledger) -> None:
    entity = book(await ledger.workspace())
    [ref_id] = await filled(ledger, entity, 1)
    workspace = entity.workspace
    for command in (
        release_ref(workspace, ref_id, 7),
        revise(workspace, ref_id, Revision(alt="B"), 7),
        release_all(entity, version=7),
    ):
        with pytest.raises(VersionConflict):
            await ledger.change(command)
    await ledger.change(release_ref(workspace, ref_id, 1))
    for late in (restore(workspace, ref_id, version=1), purge(workspace, ref_id, 1)):
        with pytest.raises(VersionConflict):
            await ledger.change(late)
    assert await version(ledger, entity) == 2


async def test_a_repeated_claim_gets_the_first_answer_also_when_the_ref_is_gone(ledger: Ledger) -> None:
    entity = book(await ledger.workspace())
    workspace = entity.workspace
    [ref_id] = await filled(ledger, entity, 1)
    commands: list[Command] = [
        release_ref(workspace, ref_id),
        restore(workspace, ref_id),
        release_all(entity),
        purge(workspace, ref_id),
    ]
    claims = [claim_on(f"key {number}", f"request {number}") for number in range(len(commands))]
    answers = [fresh(await ledger.change(each, claim)) for each, claim in zip(commands, claims, strict=True)]
    before = await ledger.events(workspace)
    for command, claim, answer in zip(commands, claims, answers, strict=True):
        assert await ledger.change(command, claim) == Replay(claim.render(answer))
    with pytest.raises(IdempotencyKeyReuse):
        await ledger.change(purge(workspace, ref_id), claim_on("key 3", "another"))
    with pytest.raises(Gone):
        await ledger.change(purge(workspace, ref_id), claim_on("a new key"))
    assert await ledger.events(workspace) == before
