"""Prometheus as Debian ships it, with the configuration and the rules of deploy/, and its answers to PromQL."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.parts.edges import program
from tests.parts.seaweed import free_ports
from tests.parts.service import eventually

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "alerts/refkeep.yaml"
SCRAPE_S = 5
Labels = dict[str, str]


@dataclass(frozen=True)
class Prometheus:
    """One that runs."""

    url: str

    def ask(self, expression: str) -> list[tuple[Labels, float]]:
        """The series of an instant query, NaN left out; raises `AssertionError` for an expression that is none."""
        answer = httpx.post(f"{self.url}/api/v1/query", data={"query": expression}, timeout=30).json()
        assert answer["status"] == "success", (expression, answer)
        result: Any = answer["data"]["result"]
        if answer["data"]["resultType"] == "scalar":
            result = [{"metric": {}, "value": result}]
        found = [(each["metric"], float(each["value"][1])) for each in result]
        return [(labels, value) for labels, value in found if not math.isnan(value)]

    def await_scrape(self, targets: int) -> None:
        """Return once every target has been scraped after now."""
        now = time.time()
        eventually(lambda: len(self.ask(f"timestamp(up == 1) > {now}")) == targets)

    def rules(self) -> list[dict[str, Any]]:
        """The rules that it evaluates."""
        groups = httpx.get(f"{self.url}/api/v1/rules", timeout=10).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def alerts(self, state: str) -> set[str]:
        """The names of those that are in this state: inactive, pending or firing."""
        return {rule["name"] for rule in self.rules() if rule["state"] == state}


@contextlib.contextmanager
def running_prometheus(folder: Path, targets: Mapping[str, Sequence[str]]) -> Iterator[Prometheus]:
    """Scrape these addresses by their job every five seconds; the jobs are those of deploy/prometheus."""
    [port] = free_ports(1)
    (folder / "prometheus.yaml").write_text(_config(targets))
    command = [
        *("setpriv", "--pdeathsig", "KILL", program("prometheus")),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: server.poll() is not None or _is_ready(url))
        assert server.poll() is None, (folder / "prometheus.log").read_text()
        yield Prometheus(url)
    except BaseException:
        sys.stderr.write((folder / "prometheus.log").read_text()[-3000:])
        raise
    finally:
        server.terminate()
        server.wait(30)


def _config(targets: Mapping[str, Sequence[str]]) -> str:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"}
    config["rule_files"] = [str(RULES)]
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [*targets[job["job_name"]]]}]
    return str(yaml.safe_dump(config))


def _is_ready(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/-/ready").status_code == 200
    return False


def promtool(*words: str) -> str:
    """What promtool says of the files, which must please it."""
    command = [program("promtool"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
