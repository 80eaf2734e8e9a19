"""contracts/telemetry.json says what dashboards rely on; the code says the same."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

from service.domain import errors
from service.observability import Layer, Outcome, PoolState, RenderingState, classify
from service.observability.record import EVENTS, UPLOAD_PHASES
from service.router.api import operations_by_route
from service.telemetry.exposition import WORKER
from service.telemetry.requests import UNKNOWN
from tests.telemetry_recorder import recording

ROOT = Path(__file__).parents[2]


def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; the parser would keep the last of two members of one name."""
    assert len(dict(pairs)) == len(pairs), f"a name twice among {[name for name, _ in pairs]}"
    return dict(pairs)


CONTRACT: dict[str, Any] = json.loads((ROOT / "contracts/telemetry.json").read_text(), object_pairs_hook=unique_members)


def error_classes(start: type[errors.RefkeepError] = errors.RefkeepError) -> Iterator[type[errors.RefkeepError]]:
    for found in start.__subclasses__():
        if "code" in vars(found):
            yield found
        yield from error_classes(found)


@cache
def nodes() -> list[tuple[str, ast.Call | ast.ClassDef]]:
    """All calls and classes of the service, each with the path of its file."""
    return [
        (str(path.relative_to(ROOT)), node)
        for path in (ROOT / "service").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call | ast.ClassDef)
    ]


def calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    for path, node in nodes():
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == name:
            yield path, node


def text(node: ast.expr | None) -> str | None:
    return str(node.value) if isinstance(node, ast.Constant) else None


def test_every_list_of_the_contract_has_each_name_once() -> None:
    lists = [*walk(CONTRACT)]
    assert len(lists) > 10
    assert [found for found in lists if len(set(found)) < len(found)] == []


def walk(part: Any) -> Iterator[list[Any]]:
    if isinstance(part, list):
        yield part
    elif isinstance(part, dict):
        for inner in part.values():
            yield from walk(inner)


def test_layers_outcomes_and_events_are_the_contracts() -> None:
    assert list(get_args(Layer)) == list(CONTRACT["layers"])
    assert list(get_args(Outcome)) == CONTRACT["outcomes"]
    assert {layer: found["event"] for layer, found in CONTRACT["layers"].items()} == EVENTS
    assert list(UPLOAD_PHASES) == CONTRACT["upload_phases"]
    assert CONTRACT["worker_label"] == WORKER
    assert CONTRACT["server_span"]["unknown_route"] == UNKNOWN.template


def test_every_error_has_an_outcome_and_a_type_of_the_closed_list() -> None:
    for found in error_classes():
        error = found.__new__(found)
        outcome, error_type = classify(error)
        assert outcome in CONTRACT["outcomes"], found
        assert error_type == found.code.replace("-", "_")
        assert error_type in CONTRACT["error_types"], found


def test_every_code_that_a_class_carries_is_of_the_closed_list() -> None:
    found = {
        str(line.value.value).replace("-", "_"): f"{path}: {node.name}"
        for path, node in nodes()
        if isinstance(node, ast.ClassDef)
        for line in node.body
        if isinstance(line, ast.Assign)
        and isinstance(line.value, ast.Constant)
        and getattr(line.targets[0], "id", "") == "code"
    }
    assert {code: where for code, where in found.items() if code not in CONTRACT["error_types"]} == {}


def test_every_route_has_an_operation_of_the_contract() -> None:
    assert {operation for _, _, operation in operations_by_route()} <= set(CONTRACT["operations"]["request"])


@pytest.mark.parametrize("name", ["observed", "observe"])
def test_every_operation_in_the_code_is_in_the_contract(name: str) -> None:
    named = CONTRACT["operations"]
    for path, call in calls(name):
        operation = text(call.args[0]) if call.args else None
        layer = text(next((keyword.value for keyword in call.keywords if keyword.arg == "layer"), None))
        if operation is None or layer is None:
            continue
        known = (
            re.fullmatch(named["repo"], operation)
            if layer == "repo"
            else operation in named.get(layer, named["request"])
        )
        assert known, f"{path}: {layer} operation {operation}"


def test_every_metric_in_the_code_is_in_the_contract_and_none_is_missing() -> None:
    kinds = {
        "create_counter": "counter",
        "create_observable_counter": "counter",
        "create_up_down_counter": "updowncounter",
        "create_observable_up_down_counter": "updowncounter",
        "create_gauge": "gauge",
        "_durations": "histogram",
    }
    made = {
        text(call.args[0]): kind
        for name, kind in kinds.items()
        for path, call in calls(name)
        if path == "service/observability/outlets.py"
    }
    assert made == {name: metric["kind"] for name, metric in CONTRACT["metrics"].items()}


def test_units_are_the_contracts() -> None:
    with recording() as recorder:
        from service.observability import outlets  # noqa: PLC0415 - the outlets of this recording

        out = outlets()
        durations = (out.requests, out.operations, out.upload_phases, out.storage, out.database, out.pool_wait)
        out.renderings = lambda: RenderingState(running=2, waiting=1)
        for instrument in (*durations, out.loop_lag, out.rendering):
            instrument.record(1)
        out.pool = lambda: PoolState(used=3, idle=2, most=10)
        for counter in (out.pool_timeouts, out.collected):
            counter.add(1)
        out.gc_backlog.set(1)
        out.integrity_failures.set(1)
        out.events_lag.set(1)
        units = {metric.name: metric.unit for metric in recorder.metrics}
    assert units == {name: metric["unit"] for name, metric in CONTRACT["metrics"].items()}
