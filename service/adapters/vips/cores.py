"""How many pictures are worked on at the same time: as many as this process has processors for."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores() -> int:
    """Processors that this process may use: those it may run on, or fewer where its container has a quota."""
    allowed = len(os.sched_getaffinity(0))
    try:
        return min(allowed, granted(_QUOTA.read_text()) or allowed)
    except OSError:
        return allowed


def granted(quota: str) -> int | None:
    """What `cpu.max` of a control group grants (cgroup-v2, CPU Interface Files), one at least; None for no limit.

    On a machine of 64 processors a container with two of them would start 64 children, which take the memory of 64.
    """
    most, _, period = quota.strip().partition(" ")
    if not most.isdigit() or not period.isdigit() or not int(period):
        return None
    return max(1, ceil(int(most) / int(period)))
