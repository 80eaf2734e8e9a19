"""What deploy/ says of dashboards, alerts and the collector fits together, and fits what the service measures."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from service.__main__ import main

ROOT = Path(__file__).parents[2]
CONTRACT: dict[str, Any] = json.loads((ROOT / "contracts/telemetry.json").read_text())
RULES: dict[str, Any] = yaml.safe_load((ROOT / "deploy/alerts/refkeep.yaml").read_text())
RULE_TESTS: dict[str, Any] = yaml.safe_load((ROOT / "deploy/alerts/refkeep.test.yaml").read_text())
COLLECTOR: dict[str, Any] = yaml.safe_load((ROOT / "deploy/collector/config.yaml").read_text())
SCRAPED: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())
RUNBOOKS = (ROOT / "docs/runbooks.md").read_text()
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]

UNITS = {"s": "_seconds", "By": "_bytes"}
PARTS = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}
SPAN_METRICS = {
    f"traces_span_metrics_{name}"
    for name in ("calls_total", *(f"duration_milliseconds{part}" for part in PARTS["histogram"]))
}
OF_PROMETHEUS = {"up"}
LABELS_OF_SPANS = {"service_name", "span_name", "span_kind", "status_code"}
_NAME = re.compile(r"\b[a-z][a-z0-9_]*(?=\{)")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def in_prometheus(name: str, metric: dict[str, Any]) -> Iterator[str]:
    """The series of a metric as the exporter calls them."""
    plain, unit = name.replace(".", "_"), UNITS.get(metric["unit"], "")
    base = plain if plain.endswith(unit) else plain + unit
    yield from (base + part for part in PARTS.get(metric["kind"], ("",)))


def dashboards() -> Iterator[dict[str, Any]]:
    for file in sorted((ROOT / "deploy/dashboards/json").glob("*.json")):
        yield json.loads(file.read_text())


def expressions() -> list[str]:
    """Every PromQL of dashboards, alerts and run-books."""
    panels = [panel for board in dashboards() for panel in board["panels"]]
    shown = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    fenced = [line for block in re.findall(r"```promql\n(.*?)```", RUNBOOKS, re.DOTALL) for line in block.splitlines()]
    return shown + [alert["expr"] for alert in ALERTS] + fenced


def test_every_panel_says_how_to_read_it_and_has_a_place_and_number_of_its_own() -> None:
    for board in dashboards():
        panels = board["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
        assert [panel["title"] for panel in panels if panel.get("targets") and not panel.get("description")] == []
        assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_every_metric_that_is_asked_for_is_one_of_the_contract() -> None:
    named = CONTRACT["metrics"].items()
    known = {series for name, metric in named for series in in_prometheus(name, metric)} | SPAN_METRICS | OF_PROMETHEUS
    asked = {name for expression in expressions() for name in _NAME.findall(expression)}
    assert len(asked) > 20
    assert asked - known == set()


def test_every_label_value_that_is_asked_for_can_occur() -> None:
    operations = {*CONTRACT["operations"]["request"], *CONTRACT["operations"]["storage"]}
    known = {
        "operation": operations,
        "outcome": {*CONTRACT["outcomes"]},
        "layer": {*CONTRACT["layers"]},
        "error_type": {*CONTRACT["error_types"]},
        "phase": {*CONTRACT["upload_phases"]},
    }
    wrong = [
        f"{label}={value}: {expression}"
        for expression in expressions()
        for label, _, text in _MATCHER.findall(expression)
        for value in words_of(text)
        if label in known and value not in known[label]
    ]
    assert wrong == []


def words_of(text: str) -> list[str]:
    """The plain words that a matcher stands for, `a|x.(b|c)` for three; none for a pattern."""
    words: list[str] = []
    for part in re.findall(r"(?:[^|(]|\([^)]*\))+", text):
        grouped = re.fullmatch(r"([a-z_.]+)\(([a-z_|]+)\)", part)
        words += [grouped[1] + each for each in grouped[2].split("|")] if grouped else [part]
    return [word for word in words if re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", word)]


def test_every_alert_has_its_run_book_and_every_run_book_its_alert() -> None:
    alerts = [alert["alert"] for alert in ALERTS]
    assert sorted(re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE)) == sorted(alerts)
    assert {alert["alert"]: alert["annotations"]["runbook"] for alert in ALERTS} == {
        name: f"docs/runbooks.md#{name.lower()}" for name in alerts
    }
    for section in RUNBOOKS.split("\n## ")[1:]:
        parts = re.findall(r"^\*\*([\w ]+):\*\*", section, re.MULTILINE)
        assert parts in (["Means", "Look", "Do"], ["Means", "Look and do"]), section


def test_every_alert_is_shown_to_come_and_to_stay_away() -> None:
    cases = [case for test in RULE_TESTS["tests"] for case in test["alert_rule_test"]]
    alerts = {alert["alert"] for alert in ALERTS}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == alerts
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == alerts
    assert {alert["labels"]["severity"] for alert in ALERTS} == {"page", "ticket"}


def test_every_command_of_the_run_books_exists_with_its_options() -> None:
    told = re.findall(r"(?:^|`)(refkeep (?!:)[^`#|\n]+)", RUNBOOKS, re.MULTILINE)
    assert len(told) > 10
    for line in told:
        command: click.Command = main
        for word in shlex.split(line)[1:]:
            if isinstance(command, click.Group) and not word.startswith("-"):
                found = command.get_command(click.Context(command), word)
                assert found is not None, line
                command = found
            elif word.startswith("-"):
                options = {name for parameter in command.params for name in parameter.opts}
                assert word in options, line


def test_the_collectors_pipelines_are_made_of_what_is_configured_and_nothing_is_left_over() -> None:
    service = COLLECTOR["service"]
    connectors = {*COLLECTOR["connectors"]}
    used: dict[str, set[str]] = {kind: set() for kind in ("receivers", "processors", "exporters")}
    for pipeline in service["pipelines"].values():
        assert pipeline["processors"][0] == "memory_limiter"
        for kind, names in pipeline.items():
            used[kind] |= {*names}
    for kind, names in used.items():
        assert names - connectors == {*COLLECTOR[kind]}, kind
    assert connectors == used["receivers"] & used["exporters"]
    assert {*service["extensions"]} == {*COLLECTOR["extensions"]}


def test_spans_are_counted_before_any_is_sampled_away_by_labels_that_are_closed_lists() -> None:
    [counting] = [each for each in COLLECTOR["service"]["pipelines"].values() if "span_metrics" in each["exporters"]]
    assert "tail_sampling" not in counting["processors"]
    connector = COLLECTOR["connectors"]["span_metrics"]
    dimensions = [dimension["name"] for dimension in connector["dimensions"]]
    assert dimensions == ["operation", "layer", "outcome", "error_type", "decision"]
    asked = {
        label
        for expression in expressions()
        for selector in re.findall(r"traces_span_metrics_\w+\{([^}]*)\}", expression)
        for label, _, _ in _MATCHER.findall(selector)
    }
    assert asked <= {*dimensions, *LABELS_OF_SPANS}
    assert connector["resource_metrics_key_attributes"] == ["service.name"]
    assert (connector["namespace"], connector["histogram"]["unit"]) == ("traces.span.metrics", "ms")


def test_what_failed_and_what_was_slow_is_always_kept() -> None:
    policies = {policy["name"]: policy for policy in COLLECTOR["processors"]["tail_sampling"]["policies"]}
    assert policies["failed"]["status_code"] == {"status_codes": ["ERROR"]}
    assert policies["slow"]["latency"] == {"threshold_ms": 1000}
    assert all(policy["type"] in policy for policy in policies.values())


def test_prometheus_scrapes_under_the_names_that_the_rules_ask_for() -> None:
    jobs = {config["job_name"] for config in SCRAPED["scrape_configs"]}
    asked = {value for alert in ALERTS for name, _, value in _MATCHER.findall(alert["expr"]) if name == "job"}
    assert asked == jobs
