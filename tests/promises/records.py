"""Two tables of contracts/ compared: names that others rely on, and what is said of each."""

from __future__ import annotations

from collections.abc import Iterator

from tests.promises.changes import Change, Json, added, removed

TEXTS = {"says", "text", "description", "about", "example"}
"""Members for people: they may be written anew."""


def compare_records(old: Json, new: Json, where: str) -> Iterator[Change]:
    """What is gone, new, or different. A list is a set; its entries with a `name` go by that."""
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _compare_members(old, new, where)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _compare_members(_by_name(old), _by_name(new), where)
    elif old != new:
        yield Change("record-changed", "answer", where, f"{old} became {new}")


def _compare_members(old: dict[str, Json], new: dict[str, Json], where: str) -> Iterator[Change]:
    before = {name: value for name, value in old.items() if name not in TEXTS}
    after = {name: value for name, value in new.items() if name not in TEXTS}
    yield from removed("record", "answer", before, after, where)
    yield from added("record", "answer", before, after, where)
    for name in before.keys() & after.keys():
        yield from compare_records(before[name], after[name], f"{where} {name}")


def _by_name(entries: list[Json]) -> dict[str, Json]:
    return {str(each.get("name", each) if isinstance(each, dict) else each): each for each in entries}
