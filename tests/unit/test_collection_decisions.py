"""Pure decisions about what is collected and what is on hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.blob import Sha256
from service.domain.collection import (
    COLLECTOR,
    BlobReview,
    BlobVerdict,
    HoldingReview,
    Verdict,
    judge_blob,
    judge_holding,
)
from service.domain.errors import BadName, NotFound, OnHold
from service.domain.event import Actor, DecisionKind, Event, EventType, HoldEvent, HoldingEvent, evolve_holding
from service.domain.hold import Hold, HoldKind
from service.domain.hold_decision import HoldState, PlaceHold, copy_for, decide_lift, decide_place
from service.domain.holding_decision import HoldingState, decide_arrival, decide_renewal
from service.domain.ref import Holding
from service.domain.workspace import parse_slug
from service.ports.collection import Amount, Plan
from service.schemas.events import decode_event, encode_event

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
NAME = Sha256("ab" * 32)
HOLDING = Holding("demo", NAME, 10, NOW, NOW + timedelta(days=7))
OPERATOR = Actor("key:operator", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
COMMAND = PlaceHold(NAME, HoldKind.LEGAL, "Order 4711", OPERATOR)


@given(st.timedeltas(timedelta(0), timedelta(days=30)), st.booleans(), st.booleans())
def test_a_holding_ends_exactly_when_its_lease_is_over_and_nothing_needs_it(
    after: timedelta, used: bool, on_hold: bool
) -> None:
    verdict = judge_holding(HoldingReview(NOW + after, HOLDING, used, on_hold))
    if used or on_hold:
        assert verdict == Verdict()
    elif NOW + after < HOLDING.lease_until:
        assert verdict == Verdict(again=HOLDING.lease_until)
    else:
        assert verdict.event is not None
        assert verdict.event.actor == COLLECTOR
        assert evolve_holding(verdict.event) is None


def test_a_holding_that_is_gone_needs_no_further_look() -> None:
    assert judge_holding(HoldingReview(NOW, None, used=False, on_hold=False)) == Verdict()


@pytest.mark.parametrize(("held", "on_hold"), [(True, False), (False, True), (True, True)])
def test_a_blob_stays_while_anything_needs_it(held: bool, on_hold: bool) -> None:
    assert judge_blob(BlobReview(NOW, held, shown=False, on_hold=on_hold), timedelta(hours=1)) == BlobVerdict()


def test_the_bytes_of_a_blob_that_goes_stay_for_the_quarantine() -> None:
    verdict = judge_blob(BlobReview(NOW, held=False, shown=False, on_hold=False), timedelta(hours=1))
    assert verdict == BlobVerdict(barren=True, delete_after=NOW + timedelta(hours=1))


def test_a_rendition_stays_without_a_holder_and_has_no_renditions_of_its_own() -> None:
    verdict = judge_blob(BlobReview(NOW, held=False, shown=True, on_hold=False), timedelta(hours=1))
    assert verdict == BlobVerdict(barren=True, delete_after=None)


@pytest.mark.parametrize(("kind", "status"), [(HoldKind.LEGAL, 451), (HoldKind.QUARANTINE, 404)])
def test_a_new_hold_has_the_usual_status_of_its_kind(kind: HoldKind, status: int) -> None:
    event = decide_place(HoldState(NOW, None), replace(COMMAND, kind=kind))
    assert event is not None
    assert (event.decision, event.hold.status, event.hold.placed_at) == (DecisionKind.INSERT, status, NOW)


def test_a_hold_placed_again_changes_what_is_new_and_nothing_else() -> None:
    before = Hold(NAME, HoldKind.LEGAL, 451, "Order 4711", "key:other", NOW)
    later = NOW + timedelta(hours=1)
    assert decide_place(HoldState(later, before), COMMAND) is None
    event = decide_place(HoldState(later, before), replace(COMMAND, status=404))
    assert event is not None
    assert event.decision is DecisionKind.UPDATE
    assert event.hold == replace(before, status=404, actor="key:operator")


def test_only_a_hold_can_be_lifted() -> None:
    before = Hold(NAME, HoldKind.LEGAL, 451, "Order 4711", "key:other", NOW)
    event = decide_lift(HoldState(NOW, before), OPERATOR)
    assert (event.type, event.decision, event.hold) == (EventType.HOLD_LIFTED, DecisionKind.RELEASE, before)
    with pytest.raises(NotFound):
        decide_lift(HoldState(NOW, None), OPERATOR)


def test_a_copy_for_a_workspace_lacks_the_reason() -> None:
    event = decide_place(HoldState(NOW, None), COMMAND)
    assert event is not None
    copy = copy_for(event, "demo")
    assert (copy.workspace, copy.hold) == ("demo", replace(event.hold, reason=None))


def test_bytes_on_hold_are_neither_taken_nor_renewed() -> None:
    state = HoldingState(HOLDING.lease_until, HOLDING, 10, on_hold=True)
    with pytest.raises(OnHold):
        decide_arrival(state, "demo", NAME, 10, timedelta(days=7), OPERATOR)
    with pytest.raises(OnHold):
        decide_renewal(state, timedelta(days=7), OPERATOR, always=True)
    assert decide_renewal(state, timedelta(days=7), OPERATOR) is None


@pytest.mark.parametrize(
    "event",
    [
        HoldEvent(EventType.HOLD_PLACED, DecisionKind.INSERT, NOW, OPERATOR,
                  Hold(NAME, HoldKind.LEGAL, 451, "Order", OPERATOR.id, NOW), None),
        HoldEvent(EventType.HOLD_PLACED, DecisionKind.INSERT, NOW, OPERATOR,
                  Hold(NAME, HoldKind.QUARANTINE, 404, None, OPERATOR.id, NOW), "demo"),
        HoldingEvent(EventType.HOLDING_RELEASED, DecisionKind.RELEASE, NOW, COLLECTOR, HOLDING),
    ],
)  # fmt: skip
def test_an_event_is_the_same_after_the_log(event: Event) -> None:
    assert decode_event(event.type, event.time, encode_event(event)) == event


@pytest.mark.parametrize("text", ["", "-a", "A", "a_b", "a" * 64, "a/b", "ä"])
def test_other_names_of_workspaces_are_refused(text: str) -> None:
    with pytest.raises(BadName):
        parse_slug(text)
    assert parse_slug("a" * 63) == "a" * 63


def test_a_plan_says_how_much_of_all_objects_goes() -> None:
    some, none = Amount(1, 10), Amount()
    assert Plan(some, some, some, some, some, none, none, Amount(8, 80)).percent == 25.0
    assert Plan(none, none, none, none, none, none, none, none).percent == 0.0
    assert Amount(1, 10) + Amount(2, 5) == Amount(3, 15)
