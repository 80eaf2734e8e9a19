"""What becomes of the rows of an import, and of a run that is rolled back: pure judgement."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from service.domain.event import EventType
from service.domain.importing import (
    EntityPlan,
    EntityStory,
    LiveRef,
    Location,
    ManifestRow,
    Place,
    PlaceKind,
    RollBackPlan,
    SourceKind,
    Touch,
    Verdict,
    actor_of,
    attach_of,
    held_back,
    is_import,
    plan_entity,
    plan_roll_back,
)
from service.domain.policy import Visibility
from service.domain.ref import parse_ref_id
from service.domain.slot import EntityKey
from service.schemas.policy_file import load_policies
from tests.parts.ledgers import hash_of

POLICIES = load_policies(None)
BOOK = EntityKey("demo", "book", "42")
BLOCK = EntityKey("demo", "block", "7")
RUN = actor_of("run-1")
SOMEBODY = "key:abc"
INSERTED, RELEASED, PURGED = EventType.REF_INSERTED, EventType.REF_RELEASED, EventType.REF_PURGED


def row(number: int, entity: EntityKey = BLOCK, role: str = "image", kind: PlaceKind = PlaceKind.ORDER) -> ManifestRow:
    location = Location(SourceKind.FILE, f"{number}.png")
    return ManifestRow(number + 2, f"source {number}", entity, role, Place(kind, number), location)


def rows(count: int) -> list[ManifestRow]:
    return [row(number) for number in range(count)]


def imported(*of: ManifestRow, by: str = RUN.id, lives: int = 0) -> EntityStory:
    """An entity in which these rows were imported, one after the other."""
    ids = [each.ref_id(lives) for each in of]
    live = tuple(LiveRef(id_, each.role, n) for n, (id_, each) in enumerate(zip(ids, of, strict=True)))
    touches = tuple(Touch(each.role, INSERTED, by, id_) for id_, each in zip(ids, of, strict=True))
    return EntityStory(len(ids), live, frozenset(), touches)


def verdicts(plan: EntityPlan) -> list[tuple[Verdict, int | None]]:
    return [(each.verdict, each.position) for each in plan.rows]


def codes(plan: EntityPlan) -> set[str]:
    return {each.reason.code for each in plan.rows if each.reason is not None}


def test_an_id_follows_from_workspace_source_and_slot_and_is_one_that_the_service_takes() -> None:
    first = row(1)
    assert first.ref_id() == UUID("00008fac-a1e2-727f-b1a7-e6b210622b03")
    assert first.ref_id() == replace(first, line=99, location=Location(SourceKind.DATA, "data:,x")).ref_id()
    others = [
        replace(first, source_id="source 2"),
        replace(first, role="video"),
        replace(first, place=Place(PlaceKind.POSITION, 1)),
        replace(first, place=Place(PlaceKind.ORDER, 2)),
        replace(first, entity=replace(BLOCK, workspace="other")),
        replace(first, entity=replace(BLOCK, id="8")),
        replace(first, entity=replace(BLOCK, type="book")),
    ]
    ids = {first.ref_id(), first.ref_id(1), *(other.ref_id() for other in others)}
    assert len(ids) == len(others) + 2
    for id_ in ids:
        assert (id_.version, id_.variant) == (7, "specified in RFC 4122")
        assert parse_ref_id(str(id_)) == id_


def test_words_do_not_run_into_each_other() -> None:
    a, b = replace(row(1), source_id="a", role="bc"), replace(row(1), source_id="ab", role="c")
    assert a.ref_id() != b.ref_id()


@given(st.text(min_size=1, max_size=30), st.integers(0, 3))
def test_imported_refs_stand_before_every_ref_of_our_time(source_id: str, life: int) -> None:
    assert replace(row(1), source_id=source_id).ref_id(life) < uuid7()


def test_rows_of_an_entity_nobody_wrote_are_imported_in_their_order_whatever_order_they_come_in() -> None:
    given_ = [row(5), row(-3), row(100), row(0)]
    plan = plan_entity(given_, EntityStory(), POLICIES)
    assert [each.row.place.number for each in plan.rows] == [-3, 0, 5, 100]
    assert verdicts(plan) == [
        (Verdict.IMPORTED, 0),
        (Verdict.IMPORTED, 1),
        (Verdict.IMPORTED, 2),
        (Verdict.IMPORTED, 3),
    ]
    assert plan.to_import == [*plan.rows]
    assert not plan.is_refused


def test_what_was_imported_before_is_left_and_what_is_missing_goes_where_it_belongs() -> None:
    first, second, third = rows(3)
    plan = plan_entity([third, second, first], imported(first, third), POLICIES)
    assert verdicts(plan) == [(Verdict.NOOP, 0), (Verdict.IMPORTED, 1), (Verdict.NOOP, 1)]
    command = attach_of(plan.rows[1], plan.version, hash_of("x"), RUN)
    assert (command.position, command.shift, command.ref_id) == (1, True, second.ref_id())
    assert command.expectation.versions == frozenset({2})
    with pytest.raises(ValueError, match="line 2"):
        attach_of(replace(plan.rows[0], ref_id=None), plan.version, hash_of("x"), RUN)


def test_a_role_that_somebody_wrote_stays_and_its_other_rows_are_skipped() -> None:
    first, second = rows(2)
    story = imported(first)
    patched = Touch("image", EventType.REF_UPDATED, SOMEBODY, first.ref_id())
    plan = plan_entity([first, second], replace(story, touches=(*story.touches, patched)), POLICIES)
    assert verdicts(plan) == [(Verdict.NOOP, 0), (Verdict.SKIPPED, None)]
    assert plan.rows[1].reason is not None
    assert plan.rows[1].reason.detail == f"Somebody wrote this role: updated by {SOMEBODY}."


def test_a_slot_that_somebody_emptied_stays_empty() -> None:
    cover = row(0, BOOK, "cover", PlaceKind.POSITION)
    gone = uuid4()
    touches = (Touch("cover", INSERTED, SOMEBODY, gone), Touch("cover", RELEASED, SOMEBODY, gone))
    for log in (touches, (*touches, Touch("cover", PURGED, "trash", gone))):
        plan = plan_entity([cover], EntityStory(2, (), frozenset({gone}), log), POLICIES)
        assert (verdicts(plan), codes(plan)) == ([(Verdict.SKIPPED, None)], {"written-live"})


def test_roles_are_judged_each_by_itself() -> None:
    story = EntityStory(1, (LiveRef(uuid4(), "video", 0),), frozenset(), (Touch("video", INSERTED, SOMEBODY, uuid4()),))
    plan = plan_entity([row(0), row(0, role="video")], story, POLICIES)
    assert verdicts(plan) == [(Verdict.IMPORTED, 0), (Verdict.SKIPPED, None)]


def test_a_role_with_refs_of_another_manifest_or_in_another_order_is_left() -> None:
    first, second, third = rows(3)
    other = replace(first, source_id="another")
    plan = plan_entity([first], imported(other), POLICIES)
    assert (verdicts(plan), codes(plan)) == ([(Verdict.SKIPPED, None)], {"other-refs"})
    plan = plan_entity([first, second, third], imported(second, first), POLICIES)
    assert codes(plan) == {"other-order"}
    assert [each.verdict for each in plan.rows] == [Verdict.NOOP, Verdict.NOOP, Verdict.SKIPPED]


def test_after_a_roll_back_a_row_is_imported_anew_under_an_id_that_nobody_has_had() -> None:
    first = row(0)
    story = imported(first)
    ended = EntityStory(
        2, (), frozenset({first.ref_id()}), (*story.touches, Touch("image", RELEASED, RUN.id, first.ref_id()))
    )
    plan = plan_entity([first], ended, POLICIES)
    assert (verdicts(plan), plan.rows[0].ref_id) == ([(Verdict.IMPORTED, 0)], first.ref_id(1))
    purged = replace(
        ended, touches=(*ended.touches, Touch("image", PURGED, "trash", first.ref_id())), ended=frozenset()
    )
    assert plan_entity([first], purged, POLICIES).rows[0].ref_id == first.ref_id(1)
    again = imported(first, lives=1)
    both = replace(again, touches=(*ended.touches, *again.touches), ended=ended.ended)
    assert verdicts(plan_entity([first], both, POLICIES)) == [(Verdict.NOOP, 0)]


def test_what_ended_before_the_log_begins_is_not_brought_back() -> None:
    first = row(0)
    plan = plan_entity([first], EntityStory(2, (), frozenset({first.ref_id()})), POLICIES)
    assert (verdicts(plan), codes(plan)) == ([(Verdict.SKIPPED, None)], {"ended"})


@pytest.mark.parametrize(
    ("given_", "code"),
    [
        ([row(0, BOOK, "spine")], "policy-unknown"),
        ([row(0, BOOK, "cover"), row(1, BOOK, "cover")], "role-full"),
        (
            [replace(row(0, EntityKey("demo", "document", "1"), "file"), visibility=Visibility.PUBLIC)],
            "visibility-not-allowed",
        ),
    ],
)
def test_what_the_policy_never_takes_is_refused_before_any_byte_is_read(given_: list[ManifestRow], code: str) -> None:
    plan = plan_entity(given_, EntityStory(), POLICIES)
    assert plan.is_refused
    assert codes(plan) == {code}


def test_where_a_row_failed_the_others_wait() -> None:
    plan = plan_entity(rows(2), EntityStory(), POLICIES)
    failed = replace(plan.rows[1], verdict=Verdict.FAILED)
    waiting = held_back(replace(plan, rows=(plan.rows[0], failed)))
    assert [each.verdict for each in waiting.rows] == [Verdict.HELD_BACK, Verdict.FAILED]
    assert waiting.rows[0].reason is not None
    assert waiting.rows[0].reason.detail.startswith("Line 3 of the same entity failed")


def test_a_roll_back_releases_what_nobody_touched_from_the_end_on() -> None:
    story = imported(*rows(3))
    ids = [ref.ref_id for ref in story.live]
    assert plan_roll_back(story, RUN) == RollBackPlan(3, (ids[2], ids[1], ids[0]), ())
    assert plan_roll_back(story, actor_of("another")) == RollBackPlan(3, (), ())


@pytest.mark.parametrize("type_", [EventType.REF_UPDATED, EventType.REF_RESTORED])
def test_a_ref_that_somebody_touched_is_left_and_told(type_: EventType) -> None:
    story = imported(*rows(2))
    first, second = (ref.ref_id for ref in story.live)
    touched = replace(story, touches=(*story.touches, Touch("image", type_, SOMEBODY, first)))
    plan = plan_roll_back(touched, RUN)
    assert plan.release == (second,)
    assert [(leave.ref_id, leave.reason.code) for leave in plan.left] == [(first, "touched")]


def test_a_new_order_touches_every_ref_of_its_role_that_was_there() -> None:
    story = imported(row(0), row(1), row(0, role="video"))
    order = Touch("image", EventType.REF_REORDERED, SOMEBODY, None)
    plan = plan_roll_back(replace(story, touches=(*story.touches, order)), RUN)
    assert plan.release == (story.live[2].ref_id,)
    assert {leave.reason.detail for leave in plan.left} == {f"reordered by {SOMEBODY}"}
    before = plan_roll_back(replace(story, touches=(order, *story.touches)), RUN)
    assert len(before.release) == 3


def test_what_somebody_released_is_told_and_what_the_run_released_itself_is_not() -> None:
    story = imported(*rows(2))
    first, second = (ref.ref_id for ref in story.live)
    ends = (Touch("image", RELEASED, SOMEBODY, first), Touch("image", RELEASED, RUN.id, second))
    plan = plan_roll_back(EntityStory(4, (), frozenset({first, second}), (*story.touches, *ends)), RUN)
    assert plan.release == ()
    assert [(leave.ref_id, leave.reason.code) for leave in plan.left] == [(first, "gone")]


def test_imports_are_known_by_their_actor() -> None:
    assert is_import(RUN.id)
    assert not is_import("key:import:1")
