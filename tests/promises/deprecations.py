"""Ends that a document announces: `deprecated: true` with the day in `x-sunset` (as the field of RFC 8594)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from tests.promises.changes import Json


def announced(new: Json, old: Json, where: str = "") -> Iterator[tuple[str, date]]:
    """Where an end is announced that the old document did not announce, and its day.

    Raises `KeyError` where the day is left out.
    """
    if isinstance(new, dict):
        before = old if isinstance(old, dict) else {}
        if new.get("deprecated") is True and before.get("deprecated") is not True:
            yield where, date.fromisoformat(str(new["x-sunset"]))
        for name, part in new.items():
            yield from announced(part, before.get(name), f"{where} {name}".strip())
    elif isinstance(new, list):
        before_parts = old if isinstance(old, list) else []
        for number, part in enumerate(new):
            known = before_parts[number] if number < len(before_parts) else None
            yield from announced(part, known, f"{where} {number}")
