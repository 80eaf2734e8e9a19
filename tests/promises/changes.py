"""What has changed between two releases, and which of it breaks callers: the table is contracts/evolution.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

import yaml

Json = Any
Side = Literal["request", "answer"]
"""Who writes what a schema describes: callers, or the service."""

CONTRACTS = Path(__file__).parents[2] / "contracts"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: the name of its rule, whose words are concerned, where, and what is different there."""

    rule: str
    side: Side
    where: str
    told: str

    def __str__(self) -> str:
        return f"{self.where}: {self.told} ({self.rule}, {self.side})"


@dataclass(frozen=True, slots=True)
class Evolution:
    """The rules of evolution: which changes break callers, and which of those were decided nevertheless."""

    breaking: frozenset[tuple[str, Side]]
    known: frozenset[tuple[str, Side]]
    accepted: tuple[tuple[str, str], ...]

    def broken(self, changes: Iterable[Change]) -> list[Change]:
        """Those that break callers. Raises `KeyError` for a change without a rule."""
        found = []
        for change in changes:
            if (change.rule, change.side) not in self.known:
                raise KeyError(f"No rule says what becomes of {change}")
            if (change.rule, change.side) in self.breaking and (change.rule, change.where) not in self.accepted:
                found.append(change)
        return found

    def idle(self, changes: Sequence[Change]) -> list[tuple[str, str]]:
        """Decided exceptions that nothing needs."""
        needed = {(change.rule, change.where) for change in changes}
        return [each for each in self.accepted if each not in needed]


def read_evolution(document: Json | None = None) -> Evolution:
    """The rules of contracts/evolution.yaml."""
    found = document or yaml.safe_load((CONTRACTS / "evolution.yaml").read_text())
    said = {(name, side): rule[side] for name, rule in found["rules"].items() for side in rule.keys() & _SIDES}
    return Evolution(
        frozenset(each for each, outcome in said.items() if outcome == "breaks"),
        frozenset(said),
        tuple((each["rule"], each["where"]) for each in found["accepted"]),
    )


def retired(old: Json, on: date | None = None) -> bool:
    """Whether the last release announced the end of this (`deprecated`, `x-sunset`) and the day has come."""
    if not (isinstance(old, dict) and old.get("deprecated")):
        return False
    return date.fromisoformat(str(old["x-sunset"])) <= (on or date.today())  # noqa: DTZ011 - a day, wherever


def removed(rule: str, side: Side, old: dict[str, Json], new: dict[str, Json], where: str) -> Iterator[Change]:
    """What is no longer there: `<rule>-removed`, or `<rule>-retired` where its end was announced."""
    for name in old.keys() - new.keys():
        ended = "retired" if retired(old[name]) else "removed"
        yield Change(f"{rule}-{ended}", side, f"{where} {name}".strip(), "is gone")


def added(rule: str, side: Side, old: dict[str, Json], new: dict[str, Json], where: str) -> Iterator[Change]:
    """What is new: `<rule>-added`."""
    for name in new.keys() - old.keys():
        yield Change(f"{rule}-added", side, f"{where} {name}".strip(), "is new")


_SIDES = {"request", "answer"}
