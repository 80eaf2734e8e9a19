"""Pure decisions about the health of bytes, what is told of it, and reports of repairs."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest

from service.application.findings import MOST_TOLD, Kind, Report
from service.application.guard_store import require_abreast
from service.domain.errors import BehindFence
from service.domain.event import BlobEvent, DecisionKind, EventType
from service.domain.health import Health
from service.domain.health_decision import REPAIR, HealthState, decide_health, health_copy_for
from service.ports.sentinel import Sentinel
from service.ports.space import Drift
from service.schemas.events import decode_event, encode_event
from tests.parts.ledgers import hash_of

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
NAME = hash_of("x")


@pytest.mark.parametrize(("known", "found"), list(product(Health, Health)))
def test_every_change_of_health_is_one_event_and_nothing_else_is(known: Health, found: Health) -> None:
    event = decide_health(HealthState(NOW, NAME, known), found, REPAIR)
    if known is found:
        assert event is None
        return
    types = {
        Health.OK: EventType.BLOB_HEALED,
        Health.MISSING: EventType.BLOB_MISSING,
        Health.CORRUPT: EventType.BLOB_CORRUPT,
    }
    assert event == BlobEvent(types[found], DecisionKind.UPDATE, NOW, REPAIR, NAME, found)


@pytest.mark.parametrize("workspace", [None, "acme"])
def test_an_event_of_health_can_be_read_again(workspace: str | None) -> None:
    event = decide_health(HealthState(NOW, NAME, Health.OK), Health.MISSING, REPAIR)
    assert event is not None
    told = event if workspace is None else health_copy_for(event, workspace)
    assert told.workspace == workspace
    assert decode_event(told.type, told.time, encode_event(told)) == told


@pytest.mark.parametrize(
    ("kind", "settled", "is_well"),
    [
        (Kind.MISSING, False, False),
        (Kind.GARBAGE, False, False),
        (Kind.GARBAGE, True, True),
        (Kind.HEALED, False, True),
        (Kind.YOUNG, False, True),
        (Kind.SPARE, False, True),
        (Kind.FOREIGN, False, False),
    ],
)
def test_a_report_is_well_when_nothing_is_left_to_do(kind: Kind, settled: bool, is_well: bool) -> None:
    report = Report()
    assert report.is_well
    report.add(kind, "a key", 7, settled=settled)
    assert (report.is_well, report.counts[kind], report.sizes[kind]) == (is_well, 1, 7)


def test_a_report_counts_more_than_it_names() -> None:
    report = Report()
    for _ in range(MOST_TOLD + 1):
        report.add(Kind.YOUNG, "a key", 1)
    assert (len(report.told), report.counts[Kind.YOUNG]) == (MOST_TOLD, MOST_TOLD + 1)


def test_drift_and_too_much_garbage_are_not_well() -> None:
    assert not Report(drift=[Drift("acme", 1, 1, 0, 0)]).is_well
    assert not Report(too_much=50.0).is_well


@pytest.mark.parametrize("shown", [0, 6, 7])
def test_a_database_that_has_seen_all_is_abreast(shown: int) -> None:
    require_abreast(Sentinel("id", placed=True, generation=7), shown)


@pytest.mark.parametrize(
    ("moved", "shown", "says"),
    [(False, 8, "generation 7, its store to 8"), (True, 7, "from a dump"), (False, None, "cannot be read")],
)
def test_any_other_is_behind(moved: bool, shown: int | None, says: str) -> None:
    with pytest.raises(BehindFence, match=says):
        require_abreast(Sentinel("id", placed=True, generation=7, moved=moved), shown)
