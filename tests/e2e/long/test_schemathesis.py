"""The running service against its own OpenAPI document: what thousands of requests, right and wrong, bring back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parts.postgres import PostgresServer
from tests.parts.service import Refkeep, Yard

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 2000
SIGNING_KEY = "2026:c2lnbmVkIGJ5IHRoZSB0ZXN0cw=="


@pytest.mark.timeout(400)
def test_two_thousand_requests_meet_no_crash_and_nothing_undocumented(postgres: PostgresServer, tmp_path: Path) -> None:
    with Yard(tmp_path, postgres).running(SIGNING_KEYS=SIGNING_KEY) as service:
        _try(service, tmp_path)


def _try(service: Refkeep, tmp_path: Path) -> None:
    workspace = service.workspace()
    key = service.key(None, "read", "write", "admin", "operator")
    written = service.bearer(key).put("document/7/file/0", b"Hello, Refkeep.\n", {"workspace": workspace})
    ref_id = written.json()["ref"]["ref_id"]
    run = subprocess.run(
        [
            Path(sys.executable).with_name("st"),
            f"--config-file={CONFIG}",
            "run",
            f"{service.url}/openapi.json",
            f"--header=Authorization: Bearer {key}",
            f"--header=Workspace: {workspace}",
            "--request-timeout=20",
            "--phases=examples,coverage,fuzzing",
            "--warnings=off",
            "--no-color",
        ],
        env={**os.environ, "SCHEMATHESIS_WORKSPACE": workspace, "SCHEMATHESIS_REF_ID": ref_id},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=390,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    tried = re.search(r"(\d+) generated", run.stdout)
    assert tried is not None, run.stdout
    assert int(tried[1]) >= EXAMPLES
