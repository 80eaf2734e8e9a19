"""SIGTERM and Ctrl-C at any moment of a start: the process ends by itself, with status 0, and leaves nobody behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from itertools import product
from pathlib import Path
from random import Random

import psutil
import pytest

from tests.parts.postgres import PostgresServer
from tests.parts.service import Yard, eventually

SEEDS = range(int(os.environ.get("SEEDS", "1")))
LATEST_S, ENDED_S = 10.0, 30.0


def moments(seed: int) -> list[float]:
    """Some of the first ten seconds, most of them early."""
    random = Random(seed)
    return [LATEST_S * random.random() ** 2 for _ in range(3)]


def takes_signals(pid: int) -> bool:
    """Before that the interpreter itself is starting, and a signal ends it as it ends any program."""
    [caught] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt")]
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("command", "workers"), [*product(("dev", "serve"), (1, 2))])
def test_a_start_that_is_told_to_stop_ends_in_order(
    tmp_path: Path, postgres: PostgresServer, command: str, workers: int, seed: int
) -> None:
    yard = Yard(tmp_path, postgres)
    for number, moment in enumerate(moments(seed)):
        words = (command,) if command == "dev" else (command, "--migrate")
        service = yard.launch(*words, data_dir=tmp_path / str(number), WORKERS=workers, DRAIN=1)
        eventually(lambda pid=service.process.pid: takes_signals(pid))  # type: ignore[misc]
        time.sleep(moment)  # the moment is what is tried out
        number_of = (signal.SIGTERM, signal.SIGINT)[number % 2]
        others = psutil.Process(service.process.pid).children(recursive=True)
        service.process.send_signal(number_of)
        began = time.monotonic()
        try:
            status = service.process.wait(ENDED_S)
        except subprocess.TimeoutExpired:
            service.process.kill()
            raise
        said = service.log.read_text()
        assert status == 0, (moment, number_of, said)
        assert "refused to gracefully stop" not in said, (moment, said)
        assert time.monotonic() - began < ENDED_S
        _, alive = psutil.wait_procs(others, timeout=10)
        assert alive == [], (moment, said)
