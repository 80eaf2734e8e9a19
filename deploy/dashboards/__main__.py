"""The dashboards as Grafana's JSON.

python -m deploy.dashboards write   write json/ anew
python -m deploy.dashboards check   exit status 1 where json/ is not what is written here
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.dashboards.covers import covers
from deploy.dashboards.delivery import delivery
from deploy.dashboards.feed import feed
from deploy.dashboards.keeping import keeping
from deploy.dashboards.parts import parts
from deploy.dashboards.refs import refs
from deploy.dashboards.uploads import uploads

FOLDER: Final = Path(__file__).parent / "json"
_PAGES = (covers, delivery, uploads, refs, keeping, feed, parts)


def written() -> dict[Path, str]:
    """Each file and what it must say."""
    return {FOLDER / f"{page.__name__}.json": _json(page()) for page in _PAGES}


def _json(board: Dashboard) -> str:
    return json.dumps(board.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def write() -> list[str]:
    """Write all files, remove others."""
    files = written()
    for old in {*FOLDER.glob("*.json")} - files.keys():
        old.unlink()
    for file, text in files.items():
        file.write_text(text)
    return []


def check() -> list[str]:
    """What is wrong, a sentence each."""
    files = written()
    stale = [file.name for file, text in files.items() if not file.exists() or file.read_text() != text]
    strange = [file.name for file in FOLDER.glob("*.json") if file not in files]
    return [
        f"deploy/dashboards/json/{name} is not what deploy/dashboards says: `make dashboards`"
        for name in stale + strange
    ]


def main() -> int:
    """Carry out one of the two."""
    wrong = {"write": write, "check": check}[sys.argv[1]]()
    sys.stderr.writelines(f"{sentence}\n" for sentence in wrong)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
