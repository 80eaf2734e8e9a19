"""The contract of `service.ports.refs`, sentence by sentence, for every adapter."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from service.domain.decision import Attach, Decision, RoleState
from service.domain.errors import (
    BlobNotHeld,
    IdempotencyKeyReuse,
    NotFound,
    PreconditionRequired,
    Rejected,
    RoleFull,
    VersionConflict,
)
from service.domain.event import Actor, DecisionKind, EntityState, EventType, RefEvent, evolve
from service.domain.policy import Visibility
from service.domain.ref import Labels, RefState, ResolvedRef
from service.domain.slot import EntityKey
from service.ports.idempotency import Replay
from service.ports.refs import RoleQuestion
from tests.parts.ledgers import (
    ACTOR,
    IMAGE,
    TRASH,
    Ledger,
    attach,
    blob_of,
    book,
    claim_on,
    fresh,
    new_hash,
    release,
    role_judge,
)

pytestmark = pytest.mark.anyio


async def positions(ledger: Ledger, entity: EntityKey, role: str = "pages") -> list[int | None]:
    """The positions of a role's live refs, as they are listed."""
    return [resolved.ref.position for resolved in (await ledger.refs.of_entity(entity, role)).refs]


async def contents(ledger: Ledger, entity: EntityKey, role: str = "pages") -> list[str]:
    """The hashes of a role, in order."""
    return [resolved.ref.sha256 for resolved in (await ledger.refs.of_entity(entity, role)).refs]


# --- changes ----------------------------------------------------------------------------------------------------------


async def test_an_insert_fills_the_slot_and_says_so(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity, sha256 = book(workspace), await ledger.hold(workspace)
    labels = Labels("cover.png", "A cover", "someone")
    command = attach(entity, "cover", sha256, 0, labels=labels, visibility=Visibility.PRIVATE)
    outcome = await ledger.attach(command)
    assert (outcome.decision, outcome.entity, outcome.version) == (DecisionKind.INSERT, entity, 1)
    assert outcome.ref is not None
    ref = outcome.ref.ref
    assert (ref.ref_id, ref.entity, ref.role, ref.position) == (command.ref_id, entity, "cover", 0)
    assert (ref.state, ref.visibility, ref.labels, ref.sha256) == (RefState.LIVE, Visibility.PRIVATE, labels, sha256)
    assert outcome.ref.blob.media == IMAGE
    assert await ledger.refs.of_entity(entity) == await ledger.refs.of_entity(entity, "cover")
    assert (await ledger.refs.of_entity(entity)).refs == (outcome.ref,)


async def test_a_replace_sends_the_old_ref_to_the_trash(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity, old, new = book(workspace), await ledger.hold(workspace), await ledger.hold(workspace)
    first = await ledger.attach(attach(entity, "cover", old, 0))
    outcome = await ledger.attach(attach(entity, "cover", new, 0))
    assert (outcome.decision, outcome.version) == (DecisionKind.REPLACE, 2)
    assert blob_of(outcome).sha256 == new
    assert first.ref is not None
    assert outcome.replaced is not None
    trashed = outcome.replaced.ref
    assert (trashed.ref_id, trashed.state, trashed.position, trashed.former_position) == (
        first.ref.ref.ref_id,
        RefState.TRASHED,
        None,
        0,
    )
    assert trashed.trashed_at is not None
    assert trashed.purge_after == trashed.trashed_at + TRASH
    assert outcome.replaced.blob.sha256 == old
    assert await ledger.refs.find(workspace, trashed.ref_id) == outcome.replaced


async def test_a_release_sends_the_ref_to_the_trash_and_later_ones_move_up(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity = book(workspace)
    hashes = [await ledger.hold(workspace) for _ in range(4)]
    for sha256 in hashes:
        await ledger.attach(attach(entity, "pages", sha256))
    outcome = fresh(await ledger.change(release(entity, "pages", 1, version=4)))
    assert (outcome.decision, outcome.version) == (DecisionKind.RELEASE, 5)
    assert outcome.ref is not None
    assert (outcome.ref.ref.state, outcome.ref.ref.former_position) == (RefState.TRASHED, 1)
    assert await contents(ledger, entity) == [hashes[0], hashes[2], hashes[3]]
    assert await positions(ledger, entity) == [0, 1, 2]


async def test_an_insert_shifts_the_later_ones(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity = book(workspace)
    first, last, between = [await ledger.hold(workspace) for _ in range(3)]
    await ledger.attach(attach(entity, "pages", first))
    await ledger.attach(attach(entity, "pages", last))
    await ledger.attach(attach(entity, "pages", between, 1, shift=True, version=2))
    assert await contents(ledger, entity) == [first, between, last]
    assert await positions(ledger, entity) == [0, 1, 2]


async def test_other_words_for_the_same_blob_are_an_update_of_the_same_ref(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity, sha256 = book(workspace), await ledger.hold(workspace)
    first = await ledger.attach(attach(entity, "cover", sha256, 0, labels=Labels("a.png", "A", "me")))
    command = attach(entity, "cover", sha256, 0, labels=Labels(alt="B"), visibility=Visibility.PRIVATE)
    outcome = await ledger.attach(command)
    assert (outcome.decision, outcome.version) == (DecisionKind.UPDATE, 2)
    assert first.ref is not None
    assert outcome.ref is not None
    assert outcome.ref.ref.ref_id == first.ref.ref.ref_id
    assert outcome.ref.ref.labels == Labels("a.png", "B", "me")
    assert (await ledger.refs.of_entity(entity)).refs == (outcome.ref,)


async def test_a_noop_has_no_event_and_no_version(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity, sha256 = book(workspace), await ledger.hold(workspace)
    first = await ledger.attach(attach(entity, "cover", sha256, 0))
    before = await ledger.events(workspace)
    again = await ledger.attach(attach(entity, "cover", sha256, 0))
    absent = fresh(await ledger.change(release(entity, "pages", 0)))
    assert (again.decision, again.event_id, again.version) == (DecisionKind.NOOP, None, 1)
    assert (absent.decision, absent.event_id, absent.version, absent.ref) == (DecisionKind.NOOP, None, 1, None)
    assert again.ref == first.ref
    assert await ledger.events(workspace) == before


async def test_a_hole_is_never_made(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity = book(workspace)
    for _ in range(6):
        await ledger.attach(attach(entity, "pages", await ledger.hold(workspace)))
    for version, position in ((6, 5), (7, 0), (8, 2)):
        await ledger.change(release(entity, "pages", position, version=version))
    await ledger.attach(attach(entity, "pages", await ledger.hold(workspace), 0, shift=True, version=9))
    assert await positions(ledger, entity) == [0, 1, 2, 3]


async def test_one_version_counts_for_all_roles_and_every_change_is_one_more(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity, sha256 = book(workspace), await ledger.hold(workspace)
    outcomes = [
        await ledger.attach(attach(entity, "pages", sha256)),
        await ledger.attach(attach(entity, "cover", sha256, 0)),
        await ledger.attach(attach(entity, "notes", sha256)),
        fresh(await ledger.change(release(entity, "cover", 0))),
    ]
    assert [outcome.version for outcome in outcomes] == [1, 2, 3, 4]
    assert (await ledger.refs.of_entity(entity)).version == 4
    assert (await ledger.refs.of_entity(entity, "cover")).version == 4


async def test_the_same_role_of_another_workspace_is_another_role(ledger: Ledger) -> None:
    mine, theirs = await ledger.workspace(), await ledger.workspace()
    sha256 = await ledger.hold(mine)
    await ledger.publish(theirs, sha256)
    await ledger.attach(attach(book(mine), "cover", sha256, 0))
    outcome = await ledger.attach(attach(book(theirs), "cover", sha256, 0))
    assert (outcome.decision, outcome.version) == (DecisionKind.INSERT, 1)
    assert len(await ledger.refs.of_blob(mine, sha256)) == 1


async def test_an_unknown_workspace_changes_nothing(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        await ledger.change(attach(book("nobody"), "cover", new_hash(), 0))


async def test_the_log_tells_every_change_in_the_order_of_its_versions(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity = book(workspace)
    outcomes = [await ledger.attach(attach(entity, "pages", await ledger.hold(workspace))) for _ in range(3)]
    outcomes.append(await ledger.attach(attach(entity, "pages", await ledger.hold(workspace), 1, version=3)))
    outcomes.append(fresh(await ledger.change(release(entity, "pages", 0, version=4))))
    events = [event for event in await ledger.events(workspace) if isinstance(event, RefEvent)]
    assert [event.version for event in events] == [1, 2, 3, 4, 5]
    assert [event.decision for event in events] == [outcome.decision for outcome in outcomes]
    assert {event.actor for event in events} == {ACTOR}
    assert len({outcome.event_id for outcome in outcomes}) == 5
    state = EntityState()
    for event in events:
        state = evolve(state, event)
    assert state.live["pages"] == tuple(resolved.ref for resolved in (await ledger.refs.of_entity(entity)).refs)


# --- the judge --------------------------------------------------------------------------------------------------------


async def test_the_judge_sees_what_is_there(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity, sha256 = book(workspace), await ledger.hold(workspace)
    first = await ledger.attach(attach(entity, "pages", sha256))
    await ledger.attach(attach(entity, "pages", await ledger.hold(workspace)))
    seen: list[RoleState] = []

    def judge(state: RoleState) -> Decision:
        seen.append(state)
        return Decision(DecisionKind.NOOP)

    await ledger.refs.change(RoleQuestion(entity, "pages", 0, sha256), judge)
    await ledger.refs.change(RoleQuestion(entity, "pages", 2, new_hash()), judge)
    await ledger.refs.change(RoleQuestion(entity, "cover", None, None), judge)
    assert first.ref is not None
    assert [state.version for state in seen] == [2, 2, 2]
    assert [state.count for state in seen] == [2, 2, 0]
    assert [state.occupant for state in seen] == [first.ref.ref, None, None]
    assert [state.blob for state in seen] == [first.ref.blob, None, None]


async def test_a_blob_of_another_workspace_is_not_there_for_the_judge(ledger: Ledger) -> None:
    mine, theirs = await ledger.workspace(), await ledger.workspace()
    sha256 = await ledger.hold(theirs)
    with pytest.raises(BlobNotHeld) as refused:
        await ledger.change(attach(book(mine), "cover", sha256, 0))
    with pytest.raises(BlobNotHeld) as unknown:
        await ledger.change(attach(book(mine), "cover", absent := new_hash(), 0))
    assert str(refused.value).replace(sha256, absent) == str(unknown.value)


async def test_an_exception_of_the_judge_changes_nothing(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity, sha256 = book(workspace), await ledger.hold(workspace)
    await ledger.attach(attach(entity, "pages", sha256))
    before = await ledger.refs.of_entity(entity), await ledger.events(workspace)
    claim = claim_on("judged anew")
    with pytest.raises(VersionConflict):
        await ledger.change(attach(entity, "pages", sha256, version=7), claim)
    with pytest.raises(PreconditionRequired):
        await ledger.change(attach(entity, "pages", await ledger.hold(workspace), 0), claim)

    def judge(state: RoleState) -> Decision:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ledger.refs.change(RoleQuestion(entity, "pages", 0, sha256), judge, claim)
    events = [event for event in await ledger.events(workspace) if isinstance(event, RefEvent)]
    assert (await ledger.refs.of_entity(entity), events) == (before[0], before[1][1:])
    assert fresh(await ledger.change(attach(entity, "pages", sha256), claim)).version == 2


# --- refusals ---------------------------------------------------------------------------------------------------------


async def test_a_reject_is_recorded_then_raised_and_changes_nothing_else(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity, sha256 = book(workspace), await ledger.hold(workspace)
    await ledger.attach(attach(entity, "cover", sha256, 0))
    with pytest.raises(RoleFull):
        await ledger.change(attach(entity, "cover", sha256))
    *_, event = await ledger.events(workspace)
    assert isinstance(event, RefEvent)
    assert (event.type, event.decision, event.code) == (EventType.REF_REJECTED, DecisionKind.REJECT, "role-full")
    assert (event.entity, event.role, event.sha256, event.version, event.actor) == (entity, "cover", sha256, 1, ACTOR)
    assert (await ledger.refs.of_entity(entity)).version == 1


async def test_a_reject_of_an_entity_that_never_was_leaves_none_behind(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    with pytest.raises(BlobNotHeld):
        await ledger.change(attach(book(workspace), "cover", new_hash(), 0))
    assert len(await ledger.events(workspace)) == 1
    assert (await ledger.refs.of_entity(book(workspace))).version == 0


async def test_equal_rejects_within_a_minute_are_one_event(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    for _ in range(3):
        with pytest.raises(BlobNotHeld):
            await ledger.change(attach(book(workspace), "cover", new_hash(), 0))
    assert len(await ledger.events(workspace)) == 1
    await ledger.advance(timedelta(seconds=61))
    for _ in range(2):
        with pytest.raises(BlobNotHeld):
            await ledger.change(attach(book(workspace), "cover", new_hash(), 0))
    assert len(await ledger.events(workspace)) == 2


async def test_rejects_of_another_key_entity_or_code_are_events_of_their_own(ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    held = await ledger.hold(workspace)
    commands = [
        attach(book(workspace, 1), "cover", sha256, 0),
        attach(book(workspace, 2), "cover", sha256, 0),
        attach(book(workspace, 1), "cover", held, 3),
        attach(book(workspace, 1), "cover", sha256, 0, actor=Actor("another")),
    ]
    for command in commands * 2:
        with pytest.raises(Rejected):
            await ledger.change(command)
    assert len(await ledger.events(workspace)) == 1 + len(commands)


# --- idempotency ------------------------------------------------------------------------------------------------------


async def test_a_repeated_claim_gets_the_first_answer_byte_for_byte(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity, sha256 = book(workspace), await ledger.hold(workspace)
    claim = claim_on("append once")
    first = await ledger.change(attach(entity, "pages", sha256), claim)
    await ledger.attach(attach(entity, "pages", sha256))
    again = await ledger.change(attach(entity, "pages", sha256), claim)
    assert again == Replay(claim.render(fresh(first)))
    assert await positions(ledger, entity) == [0, 1]
    assert (await ledger.refs.of_entity(entity)).version == 2


async def test_a_claim_is_answered_before_anything_is_judged(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity = book(workspace)
    old, new = await ledger.hold(workspace), await ledger.hold(workspace)
    await ledger.attach(attach(entity, "pages", old))
    claim = claim_on("replace once")
    await ledger.change(attach(entity, "pages", new, 0, version=1), claim)
    assert isinstance(await ledger.change(attach(entity, "pages", new, 0, version=1), claim), Replay)


async def test_a_noop_keeps_its_answer_too(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity, claim = book(workspace), claim_on("release once")
    first = fresh(await ledger.change(release(entity, "pages", 0), claim))
    await ledger.attach(attach(entity, "pages", await ledger.hold(workspace)))
    again = await ledger.change(release(entity, "pages", 0, version=1), claim)
    assert again == Replay(claim.render(first))
    assert await positions(ledger, entity) == [0]


async def test_a_key_used_for_another_request_is_refused(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity, sha256 = book(workspace), await ledger.hold(workspace)
    await ledger.change(attach(entity, "pages", sha256), claim_on("a key", "one"))
    with pytest.raises(IdempotencyKeyReuse):
        await ledger.change(attach(entity, "pages", sha256), claim_on("a key", "another"))
    assert await positions(ledger, entity) == [0]


async def test_a_key_belongs_to_its_workspace(ledger: Ledger) -> None:
    claim = claim_on("the same key")
    for _ in range(2):
        workspace = await ledger.workspace()
        sha256 = await ledger.hold(workspace)
        assert fresh(await ledger.change(attach(book(workspace), "pages", sha256), claim)).version == 1


async def test_a_refusal_is_no_answer_to_keep(ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    claim = claim_on("try again")
    with pytest.raises(BlobNotHeld):
        await ledger.change(attach(book(workspace), "cover", sha256, 0), claim)
    await ledger.publish(workspace, sha256)
    assert fresh(await ledger.change(attach(book(workspace), "cover", sha256, 0), claim)).version == 1


# --- reading ----------------------------------------------------------------------------------------------------------


async def test_an_unknown_entity_has_version_0_and_no_refs(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    nothing = await ledger.refs.of_entity(book(workspace))
    assert (nothing.version, nothing.refs) == (0, ())
    assert await ledger.refs.of_entity(book("nobody")) == nothing


async def test_refs_of_an_entity_come_by_role_and_position(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity, sha256 = book(workspace), await ledger.hold(workspace)
    for role in ("pages", "notes", "pages", "cover", "notes", "pages"):
        await ledger.attach(attach(entity, role, sha256))
    slots = [(ref.ref.role, ref.ref.position) for ref in (await ledger.refs.of_entity(entity)).refs]
    expected = [("cover", 0), ("notes", 0), ("notes", 1), ("pages", 0), ("pages", 1), ("pages", 2)]
    assert slots == expected
    notes = (await ledger.refs.of_entity(entity, "notes")).refs
    assert [(ref.ref.role, ref.ref.position) for ref in notes] == expected[1:3]


async def test_trashed_refs_are_found_by_id_and_not_listed(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity, sha256 = book(workspace), await ledger.hold(workspace)
    made = await ledger.attach(attach(entity, "cover", sha256, 0))
    assert made.ref is not None
    released = fresh(await ledger.change(release(entity, "cover", 0)))
    assert (await ledger.refs.of_entity(entity)).refs == ()
    assert await ledger.refs.find(workspace, made.ref.ref.ref_id) == released.ref


async def test_a_ref_of_another_workspace_is_not_found(ledger: Ledger) -> None:
    mine, theirs = await ledger.workspace(), await ledger.workspace()
    made = await ledger.attach(attach(book(theirs), "cover", await ledger.hold(theirs), 0))
    assert made.ref is not None
    assert await ledger.refs.find(theirs, made.ref.ref.ref_id) == made.ref
    assert await ledger.refs.find(mine, made.ref.ref.ref_id) is None
    assert await ledger.refs.find(mine, uuid4()) is None


async def test_refs_of_a_blob_are_live_and_trashed_ones_oldest_first(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    sha256 = await ledger.hold(workspace)
    made = [await ledger.attach(attach(book(workspace, number), "cover", sha256, 0)) for number in range(3)]
    await ledger.change(release(book(workspace, 0), "cover", 0))
    found = await ledger.refs.of_blob(workspace, sha256)
    expected = [outcome.ref.ref.ref_id for outcome in made if outcome.ref is not None]
    assert [resolved.ref.ref_id for resolved in found] == expected
    assert [resolved.ref.state for resolved in found] == [RefState.TRASHED, RefState.LIVE, RefState.LIVE]
    assert await ledger.refs.of_blob(workspace, new_hash()) == ()


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7])
async def test_refs_are_listed_in_pages_that_go_on_behind_a_place(ledger: Ledger, limit: int) -> None:
    workspace = await ledger.workspace()
    entity, sha256 = book(workspace), await ledger.hold(workspace)
    for role in ("pages", "notes", "pages", "cover", "notes", "pages"):
        await ledger.attach(attach(entity, role, sha256))
    whole = (await ledger.refs.of_entity(entity)).refs
    paged, after, more = list[ResolvedRef](), ("", 0), True
    while more:
        page = await ledger.refs.of_entity(entity, None, after, limit)
        assert len(page.refs) <= limit
        paged += page.refs
        last, more = page.refs[-1].ref, page.more
        after = last.role, last.position or 0
    assert tuple(paged) == whole
    notes = await ledger.refs.of_entity(entity, "notes", ("notes", 0), 1)
    assert ([resolved.ref.position for resolved in notes.refs], notes.more) == ([1], False)
    beyond = await ledger.refs.of_entity(entity, None, ("pages", 2))
    assert (beyond.version, beyond.refs, beyond.more) == (6, (), False)


# --- rehearsals -------------------------------------------------------------------------------------------------------


def question_of(command: Attach) -> RoleQuestion:
    """What `change` would ask for it."""
    return RoleQuestion(command.entity, command.role, command.position, command.sha256)


async def test_a_rehearsal_carries_out_nothing_and_keeps_no_answer(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    command, claim = attach(book(workspace), "pages", await ledger.hold(workspace)), claim_on("a key")
    before = await ledger.events(workspace)
    for _ in range(2):
        assert await ledger.refs.rehearse(question_of(command), role_judge(command), claim) is None
    assert await ledger.events(workspace) == before
    assert (await ledger.refs.of_entity(command.entity)).version == 0
    assert fresh(await ledger.change(command, claim)).version == 1


async def test_a_rehearsal_records_a_reject_and_raises_it(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    command = attach(book(workspace), "cover", new_hash(), 0)
    for _ in range(2):
        with pytest.raises(BlobNotHeld):
            await ledger.refs.rehearse(question_of(command), role_judge(command))
    [event] = await ledger.events(workspace)
    assert isinstance(event, RefEvent)
    assert (event.type, event.code) == (EventType.REF_REJECTED, "blob-not-held")


async def test_a_rehearsal_of_what_was_carried_out_gets_its_answer(ledger: Ledger) -> None:
    workspace, claim = await ledger.workspace(), claim_on("a key")
    command = attach(book(workspace), "cover", await ledger.hold(workspace))
    first = fresh(await ledger.change(command, claim))
    answer = await ledger.refs.rehearse(question_of(command), role_judge(command), claim)
    assert answer == Replay(claim.render(first))
    with pytest.raises(IdempotencyKeyReuse):
        await ledger.refs.rehearse(question_of(command), role_judge(command), claim_on("a key", "another"))


async def test_an_exception_of_the_judge_ends_a_rehearsal_without_a_trace(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    command = attach(book(workspace), "cover", new_hash(), 0, version=3)
    with pytest.raises(VersionConflict):
        await ledger.refs.rehearse(question_of(command), role_judge(command))
    with pytest.raises(NotFound):
        await ledger.refs.rehearse(RoleQuestion(book("nobody"), "cover", 0, None), role_judge(command))
    assert await ledger.events(workspace) == []
