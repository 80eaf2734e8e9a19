"""deploy/refkeep.service: what of its lock can be put on without systemd as process 1."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.parts.fresh import fresh_jpeg
from tests.parts.image import ROOT
from tests.parts.postgres import PostgresServer
from tests.parts.service import Yard

_REFUSE_EXEC_GAIN = """
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0  # PR_SET_MDWE(2const), Linux 6.3
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_pictures_are_read_where_no_memory_may_become_code(postgres: PostgresServer, tmp_path: Path) -> None:
    assert "MemoryDenyWriteExecute=yes" in (ROOT / "deploy/refkeep.service").read_text()
    under = (sys.executable, "-c", _REFUSE_EXEC_GAIN)
    with Yard(tmp_path, postgres).running("serve", "--migrate", under=under) as service:
        answer = service.caller().put("book/1/cover/0", fresh_jpeg())
        assert answer.status_code == 201, answer.text
        assert answer.json()["ref"]["blob"]["width"] > 0
        made = service.caller().http.get(f"/media/{answer.json()['ref']['ref_id']}/file/thumb")
        assert (made.status_code, made.headers["content-type"].partition("/")[0]) == (200, "image"), made.text
