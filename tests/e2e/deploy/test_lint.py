"""Linters of their trades on everything in deploy/ that is not Python; Helm itself renders the chart."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from service.server import TRANSFER_GRACE_S
from service.settings import load_settings
from tests.parts.image import ROOT

DEPLOY, BIN = ROOT / "deploy", Path(sys.executable).parent
CHART = DEPLOY / "chart"
KUBERNETES = ["1.29.0", "1.37.0"]
EVERYTHING: dict[str, Any] = {
    "replicaCount": 4,
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls"},
    "policies": '[[policy]]\nentity_type = "*"\n',
    "imagePullSecrets": [{"name": "registry"}],
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "media", "operator": "Exists"}],
    "service": {"annotations": {"a": "b"}},
}


def lint(*command: str | Path) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_has_nothing_to_say_of_the_dockerfile() -> None:
    lint(BIN / "hadolint", "--failure-threshold=style", DEPLOY / "Dockerfile")


def test_yamllint_has_nothing_to_say() -> None:
    lint(BIN / "yamllint", "--strict", "--config-file", DEPLOY / ".yamllint.yaml", DEPLOY)


def test_compose_gives_nothing_away() -> None:
    lint(BIN / "compose-lint", "--fail-on", "high", DEPLOY / "compose.yaml")


@pytest.mark.parametrize("script", ["entrypoint.sh", "new-secrets.sh"])
def test_scripts_are_for_any_posix_shell(script: str) -> None:
    lint("dash", "-n", DEPLOY / script)


def rendered(**values: Any) -> list[dict[str, Any]]:
    with helm_python.Chart.load(str(CHART)) as chart:
        texts = chart.render(values, name="media", namespace="prod")
    documents = [yaml.safe_load_all(text) for name, text in texts.items() if name.endswith(".yaml")]
    return [document for each in documents for document in each if document]


def of_kind(kind: str, **values: Any) -> dict[str, Any]:
    [found] = [document for document in rendered(**values) if document["kind"] == kind]
    return found


def test_helm_finds_the_chart_in_order() -> None:
    report = helm_python.lint(str(CHART))
    assert report["errors"] == []
    assert [told["error"] for told in report["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_what_the_chart_renders_is_what_kubernetes_takes(version: str, values: dict[str, Any]) -> None:
    documents = rendered(**values)
    assert len(documents) >= 5
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("values", [{"settings": {"REFKEEP_DATABASE_URL": "postgresql://x"}}, {"existingSecret": ""}])
def test_the_chart_takes_no_secret_among_the_settings_and_wants_one_beside(values: dict[str, Any]) -> None:
    with helm_python.Chart.load(str(CHART)) as chart, pytest.raises(helm_python.HelmError):
        chart.validate_schema(chart.merge_values(values))


def test_what_the_chart_sets_are_settings_of_refkeep() -> None:
    [settings] = [document["data"] for document in rendered() if document["kind"] == "ConfigMap"]
    assert load_settings(settings).drain.total_seconds() == 10


@pytest.mark.parametrize("drain", [0, 10, 90])
def test_a_pod_has_the_time_that_a_drain_takes(drain: int) -> None:
    spec = of_kind("Deployment", drainSeconds=drain)["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == drain + TRANSFER_GRACE_S + 10


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_pods_run_as_the_image_does(kind: str) -> None:
    spec = of_kind(kind)["spec"]["template"]["spec"]
    [container] = spec["containers"]
    assert spec["securityContext"]["runAsUser"] == 10001
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/var/lib/refkeep", "/tmp"}
    assert spec["enableServiceLinks"] is False, "REFKEEP_PORT of a Service is no port, and stops the start"


def test_migrations_come_before_pods_and_need_nothing_of_the_release() -> None:
    job = of_kind("Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "refkeep"}}]


def test_the_unit_of_systemd_is_in_order_and_well_locked(tmp_path: Path) -> None:
    assert shutil.which("systemd-analyze"), "apt-get install systemd"
    text = (DEPLOY / "refkeep.service").read_text()
    unit = tmp_path / "refkeep.service"
    unit.write_text(text.replace("/opt/refkeep/bin/refkeep", str(BIN / "refkeep")))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", "--json=short", unit],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert told.returncode == 0, json.loads(told.stdout)


def test_every_stage_names_its_base_by_a_tag() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert "ARG PYTHON_IMAGE=python:3.11-slim-bookworm" in lines
    assert [line.split()[1] for line in lines if line.startswith("FROM")] == ["${PYTHON_IMAGE}"] * 2
    for service in yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"].values():
        assert service["image"].rpartition(":")[2] not in {"", "latest"}
