"""`make soak`: stories of seeds that nobody has tried, on both stores in turn, until the time is over.

Arguments: minutes, and a seed to begin with. Prints steps, violations and seeds; ends with 1 at the first violation.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from pathlib import Path

from tests.machine.ground import Ground, opened_ground
from tests.machine.telling import bucket, folder, tell_stories
from tests.parts.postgres import running_postgres
from tests.parts.seaweed import running_seaweed

AT_A_TIME = 5


def main(minutes: float, number: int) -> int:
    """Tell stories for so long, beginning with this seed."""
    with tempfile.TemporaryDirectory(prefix="refkeep-soak-") as path, ExitStack() as stack:
        data = Path(path)
        for name in ("postgres", "seaweed", "folder", "spool"):
            (data / name).mkdir()
        postgres = stack.enter_context(running_postgres(data / "postgres"))
        template = stack.enter_context(postgres.migrated_template())
        seaweed = stack.enter_context(running_seaweed(data / "seaweed"))
        databases = [stack.enter_context(postgres.database(template)) for _ in range(2)]
        grounds = {
            "folder": stack.enter_context(opened_ground(databases[0], lambda: folder(data / "folder"))),
            "bucket": stack.enter_context(opened_ground(databases[1], lambda: bucket(seaweed, data / "spool"))),
        }
        return soak(grounds, minutes, number)


def soak(grounds: dict[str, Ground], minutes: float, number: int) -> int:
    """0 where nothing was violated, else 1 at once."""
    started = time.monotonic()
    while (passed := time.monotonic() - started) < minutes * 60:
        for name, ground in grounds.items():
            try:
                tell_stories(ground, number, AT_A_TIME)
            except Exception:  # noqa: BLE001 - whatever it is, it is told, with what repeats it
                traceback.print_exc()
                print(f"1 violation: seed {number} on a {name}; to see it again: make soak ARGS={number}", flush=True)
                return 1
        steps = sum(sum(ground.stories.values()) for ground in grounds.values())
        print(f"{passed / 60:5.1f} min  seed {number}  {steps:,} steps  0 violations", flush=True)
        number += 1
    told = {what for ground in grounds.values() for what in ground.stories}
    for what in sorted(told):
        print(f"{what:14} {sum(ground.stories[what] for ground in grounds.values()):8,}")
    return 0


if __name__ == "__main__":
    _, asked, *first = sys.argv
    sys.exit(main(float(asked), int(first[0]) if first else random.SystemRandom().randrange(2**31)))
