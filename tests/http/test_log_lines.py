"""Whatever a service says is a line of JSON where lines are JSON: its main process, its workers, a failed start."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import psutil

from tests.parts.seaweed import free_ports
from tests.parts.service import Refkeep, Yard, eventually, is_ready, run_command


def lines(service: Refkeep) -> list[dict[str, Any]]:
    """What it said, on both of its streams."""
    return [json.loads(line) for line in service.log.read_text().splitlines()]


def test_all_lines_of_a_service_are_json_and_a_variable_that_is_left_out_is_told_once(yard: Yard) -> None:
    settings = {"OTEL_BSP_MAX_QUEUE_SIZE": 0, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "WORKERS": 2}
    with yard.running(**settings) as service:
        psutil.Process(service.process.pid).children()[0].send_signal(signal.SIGKILL)
        eventually(lambda: any("Unexpected exit from worker" in each["event"] for each in lines(service)))
        eventually(lambda: is_ready(service))
        assert service.stop() == 0
        told = [each for each in lines(service) if each["event"] == "otel_variable_left_out"]
    assert [(each["level"], each["variable"]) for each in told] == [("warning", "OTEL_BSP_MAX_QUEUE_SIZE")]


def test_a_start_that_fails_is_a_line_of_json(tmp_path: Path) -> None:
    [port] = free_ports(1)
    nobody = f"postgresql://refkeep:swordfish@127.0.0.1:{port}/refkeep"
    done = run_command("serve", "--migrate", DATABASE_URL=nobody, DATA_DIR=tmp_path, PORT=port, LOG_FORMAT="json")
    assert (done.status, done.stdout) == (1, "")
    [line] = [json.loads(each) for each in done.stderr.splitlines()]
    assert (line["level"], line["event"], line["says"]) == ("error", "ended_by_fault", "The database does not answer.")
