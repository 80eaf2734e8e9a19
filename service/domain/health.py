"""Health: whether the store still has the bytes of a blob as they were sent."""

from __future__ import annotations

from enum import StrEnum


class Health(StrEnum):
    """`missing`: the store said that there is no object; `corrupt`: it holds other bytes, read twice."""

    OK = "ok"
    MISSING = "missing"
    CORRUPT = "corrupt"
