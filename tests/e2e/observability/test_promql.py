"""Every question that dashboards, alerts and run-books ask has an answer in a real Prometheus."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.parts.prometheus import DEPLOY, RULES, Prometheus, promtool
from tests.parts.service import eventually

pytestmark = pytest.mark.timeout(600)  # the first test waits for all that happens

DASHBOARDS = sorted((DEPLOY / "dashboards/json").glob("*.json"))
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]
RUNBOOKS = DEPLOY.parent / "docs/runbooks.md"
BY_NATURE_EMPTY = re.compile(r"absent\((.+)\)")
"""What asks whether something is gone has no answer while it is there."""
_COMPARISON = re.compile(r" (>=|<=|==|!=|>|<) (?!bool)")
_LEGEND = re.compile(r"\{\{(\w+)\}\}")


def asked(expression: str) -> str:
    """An expression as Grafana sends it with everything chosen; without the zero for what has never happened."""
    chosen = expression.replace("$__rate_interval", "5m").replace('"$job"', '".+"').replace('"$service"', '".+"')
    return chosen.replace(" or vector(0)", "")


def unfiltered(expression: str) -> str:
    """An alert's expression that says 1 or 0 of every series, where it would leave out those that are well."""
    return _COMPARISON.sub(r" \1 bool ", asked(expression))


@pytest.mark.parametrize("file", DASHBOARDS, ids=[file.stem for file in DASHBOARDS])
def test_every_panel_shows_something(seen: Prometheus, file: Path) -> None:
    panels = [panel for panel in json.loads(file.read_text())["panels"] if panel["type"] != "row"]
    silent = []
    for panel in panels:
        for target in panel.get("targets", []):
            found = seen.ask(asked(target["expr"]))
            wanted = {*_LEGEND.findall(target["legendFormat"])}
            if not any(wanted <= labels.keys() for labels, _ in found):
                silent.append((panel["title"], target["expr"], found))
    assert silent == []


@pytest.mark.parametrize("alert", ALERTS, ids=[alert["alert"] for alert in ALERTS])
def test_every_alert_looks_at_something(seen: Prometheus, alert: dict[str, Any]) -> None:
    expression = alert["expr"]
    if (gone := BY_NATURE_EMPTY.fullmatch(expression)) is not None:
        assert seen.ask(gone[1]) != []
        assert seen.ask(expression) == []
        assert [value for _, value in seen.ask(expression.replace('="', '="another-'))] == [1]
        return
    judged = seen.ask(unfiltered(expression))
    assert judged != []
    assert {value for _, value in judged} <= {0, 1}


def test_every_question_of_the_run_books_has_an_answer(seen: Prometheus) -> None:
    text = RUNBOOKS.read_text()
    blocks = re.findall(r"```promql\n(.*?)```", text, re.DOTALL)
    inline = re.findall(r"`((?:sum|max|count|histogram_quantile|up)\b[^`]*[)}])`", text)
    questions = [line for block in blocks for line in block.splitlines()] + inline
    assert len(questions) > 15
    assert [question for question in questions if not seen.ask(question)] == []


def test_what_is_not_there_has_no_answer(seen: Prometheus) -> None:
    assert seen.ask('sum(rate(media_operation_duration_seconds_count{operation="never.heard.of"}[5m]))') == []
    assert seen.ask("histogram_quantile(0.95, sum by (le) (rate(never_heard_of_bucket[5m])))") == []


def test_prometheus_evaluates_every_rule(seen: Prometheus) -> None:
    rules = seen.rules()
    assert {rule["name"] for rule in rules} == {alert["alert"] for alert in ALERTS}
    assert [rule for rule in rules if rule["health"] != "ok"] == []


def test_what_happened_here_rings(seen: Prometheus) -> None:
    """All of it has happened a moment ago: what needs no patience rings, the rest is noticed and waits for its time."""
    eventually(lambda: {"RefkeepBlobMissing", "RefkeepStorageFull"} <= seen.alerts("firing"))
    noticed = seen.alerts("firing") | seen.alerts("pending")
    assert noticed >= {"RefkeepErrorsBurnFast", "RefkeepUploadsFail", "RefkeepDatabaseErrors"}
    well = {"RefkeepDown", "RefkeepAbsent", "RefkeepIntegrityFailures", "RefkeepFeedHeldBack", "RefkeepCollectorDown"}
    assert seen.alerts("firing") & well == set()


def test_promtool_finds_no_fault() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", str(RULES))
    assert "SUCCESS" in promtool("test", "rules", str(RULES.with_suffix(".test.yaml")))
    assert "SUCCESS" in promtool("check", "config", "--syntax-only", str(DEPLOY / "prometheus/prometheus.yaml"))
