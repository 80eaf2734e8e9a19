"""docs/telemetry.md tells operators what contracts/telemetry.json promises: all of it, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from service.application.watch_lag import WORTH_A_WORD
from service.observability import PoolState, RenderingState, connect, outlets
from service.telemetry.sdk import start_telemetry
from tests.logging_state import logging_restored
from tests.unit.test_telemetry_contract import CONTRACT, ROOT

PAGE = (ROOT / "docs/telemetry.md").read_text()
Row = tuple[str, ...]


def table(head: str) -> list[Row]:
    """The rows of the one table whose head begins with this column, without the head."""
    [found] = re.findall(rf"^\| {head} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [tuple(cell.strip() for cell in line.strip("|\n").split("|")) for line in found.splitlines()]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_metric_is_told_with_its_kind_unit_and_labels() -> None:
    told = {
        names(name)[0]: {"kind": kind, "unit": unit, "labels": names(labels)}
        for name, _, kind, unit, labels, _ in table("metric")
    }
    assert told == CONTRACT["metrics"]


@pytest.fixture
def scraped() -> Iterator[str]:
    """What `/metrics` says once each instrument has something to say."""
    before = outlets()
    with logging_restored():
        telemetry = start_telemetry(worker="0", log_level="critical")
        out = outlets()
        for histogram in (out.requests, out.operations, out.upload_phases, out.storage, out.database, out.pool_wait):
            histogram.record(1)
        out.loop_lag.record(1)
        out.rendering.record(1)
        out.renderings = lambda: RenderingState(1, 1)
        for counter in (out.pool_timeouts, out.collected):
            counter.add(1)
        for gauge in (out.gc_backlog, out.integrity_failures, out.events_lag):
            gauge.set(1)
        out.pool = lambda: PoolState(1, 1, 1)
        yield telemetry.render_metrics()[0].decode()
        telemetry.shutdown()
    connect(before.tracer, before.meter, before.log)


def test_every_metric_has_the_name_that_prometheus_reads(scraped: str) -> None:
    headings = set(re.findall(r"^# TYPE (\S+)", scraped, re.MULTILINE)) - {"target_info"}
    assert {names(row[1])[0] for row in table("metric")} == headings


def test_every_field_is_told_where_it_stands() -> None:
    fields, layers = CONTRACT["fields"], CONTRACT["layers"]
    told = {names(name)[0]: where for name, where, _ in table("field")}
    promised = {name: where for where, listed in fields.items() for name in listed}
    promised |= {name: layer for layer, found in layers.items() for name in found["fields"]}
    assert set(told) == set(promised)
    for name, found_at in told.items():
        wanted = {where for where, listed in fields.items() if name in listed}
        wanted |= {layer for layer, found in layers.items() if name in found["fields"]}
        assert [where for where in wanted if where not in found_at] == [], name


def test_outcomes_layers_events_and_store_calls_are_told() -> None:
    assert sorted(names(row[0])[0] for row in table("outcome")) == sorted(CONTRACT["outcomes"])
    assert [names(row[0])[0] for row in table("layer")] == list(CONTRACT["layers"])
    for layer in CONTRACT["layers"].values():
        assert f"`{layer['event']}`" in PAGE
    for operation in CONTRACT["operations"]["storage"]:
        assert f"`{operation}`" in PAGE
    assert f"from {WORTH_A_WORD:g} s on" in PAGE
