"""What others rely on, and whether it still holds.

python -m tests.promises check     files that the code writes are up to date; nothing breaks since the last release
python -m tests.promises write     write them anew
python -m tests.promises release   make what stands here the last release; refuses what `check` refuses
"""

from __future__ import annotations

import sys
from datetime import date, timedelta

from tests.promises.changes import Change, read_evolution
from tests.promises.deprecations import announced
from tests.promises.files import COMPARED, RELEASED, ROOT, compared, cut, generated, read, seal, version

NOTICE = timedelta(days=180)
"""How long a deprecation stands at least; see contracts/README.md."""


def stale() -> list[str]:
    """Files that are not what the code writes."""
    return [
        f"{file.relative_to(ROOT)} is not what the code says; write it anew with `make contracts`."
        for file, text in generated().items()
        if not file.exists() or file.read_text() != text
    ]


def broken() -> tuple[list[Change], list[str]]:
    """All changes since the last release, and what is wrong with them."""
    changes, evolution = [*compared()], read_evolution()
    wrong = [f"breaks callers of {seal()['version']}: {change}" for change in evolution.broken(changes)]
    return changes, [
        *wrong,
        *(f"accepted, but nothing needs it: {rule} {where}" for rule, where in evolution.idle(changes)),
    ]


def check() -> list[str]:
    """What is wrong, a sentence each."""
    changes, wrong = broken()
    print(f"contracts: {len(changes)} changes since {seal()['version']} of {seal()['date']}")
    return [*stale(), *wrong]


def write() -> list[str]:
    """Write what the code says. Nothing can be wrong with that."""
    for file, text in generated().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return []


def release() -> list[str]:
    """Make this the last release, unless something is wrong with it."""
    first = not RELEASED.exists()
    wrong = [*stale(), *([] if first else [*broken()[1], *_untimely()])]
    if not wrong:
        cut()
        print(f"contracts/released is {version()} now")
    return wrong


def _untimely() -> list[str]:
    """Of a release: a version that was released, and deprecations that end too soon."""
    same = [f"{version()} was released on {seal()['date']}."] if version() == seal()["version"] else []
    earliest = date.today() + NOTICE  # noqa: DTZ011 - a day, wherever
    found = [(where, sunset) for name in COMPARED for where, sunset in announced(read(name), read(name, RELEASED))]
    return [*same, *(f"{where} ends on {sunset}, before {earliest}." for where, sunset in found if sunset < earliest)]


def main(command: str) -> int:
    """Carry out a command; 1 where something is wrong."""
    wrong = {"check": check, "write": write, "release": release}[command]()
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
