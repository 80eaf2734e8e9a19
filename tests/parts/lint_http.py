"""REDbot's opinion of one address, as a process of its own: its event loop is its own, too.

Prints a JSON list of [check, level, note]: `default` is the first request, the others are what it asks beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

SECONDS = 60


def notes_on(url: str) -> set[tuple[str, str, str]]:
    """What REDbot notes on `url`: (check, level, note)."""
    command = [sys.executable, str(Path(__file__)), url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    return {(check, level, note) for check, level, note in json.loads(done.stdout)}


def _main(url: str) -> None:
    import thor  # noqa: PLC0415 - only the process of its own has that loop
    from redbot.resource import HttpResource  # noqa: PLC0415

    settings = ConfigParser()
    settings.read_dict({"redbot": {"enable_local_access": "true"}})
    resource = HttpResource(settings["redbot"])
    resource.set_request(url)
    resource.once("check_done", thor.stop)
    resource.check()
    thor.run()
    checks = [resource, *resource.subreqs.values()]
    notes = [
        (check.check_id, note.level.value, type(note).__name__) for check in checks for note in check.response.notes
    ]
    sys.stdout.write(json.dumps(notes))


if __name__ == "__main__":
    _main(sys.argv[1])
