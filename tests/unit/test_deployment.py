"""What deploy/ says of the service is what the service says of itself."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.server import TRANSFER_GRACE_S
from service.settings import load_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
VALUES: dict[str, Any] = yaml.safe_load((DEPLOY / "chart/values.yaml").read_text())
SPARE_S = 10


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("Dockerfile", r"^ARG VERSION=(.*)$"),
        ("compose.yaml", r"^  image: refkeep:(.*)$"),
        ("chart/Chart.yaml", r"^version: (.*)$"),
        ("chart/Chart.yaml", r'^appVersion: "(.*)"$'),
    ],
)
def test_what_is_deployed_is_this_version(name: str, form: str) -> None:
    assert re.findall(form, (DEPLOY / name).read_text(), re.MULTILINE) == [VERSION]


def test_what_compose_and_the_chart_set_is_known() -> None:
    compose = COMPOSE["services"]["refkeep"]["environment"]
    given = {name: text for name, text in compose.items() if not text.startswith("${")}
    assert load_settings(given).storage == load_settings(VALUES["settings"]).storage == "s3"


def test_whoever_stops_it_waits_for_drain_and_transfers() -> None:
    compose, unit = COMPOSE["services"]["refkeep"], (DEPLOY / "refkeep.service").read_text()
    drain = load_settings({**compose["environment"], "REFKEEP_PUBLIC_URL": "http://x"}).drain.total_seconds()
    assert int(compose["stop_grace_period"].removesuffix("s")) >= drain + TRANSFER_GRACE_S + SPARE_S
    [patience] = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(patience) >= load_settings({}).drain.total_seconds() + TRANSFER_GRACE_S + SPARE_S


def test_there_is_no_password_in_compose() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert re.findall(r"(?i)(?:password|secret|_key(?:s|_id)?)\S*: *(?!/run/secrets/|\{file:|\[)(\S+)", text) == []
    assert all(secret.keys() == {"file"} for secret in COMPOSE["secrets"].values())
