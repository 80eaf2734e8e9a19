"""What happened, counted by everyone who sees it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

MOST_FLAWS = 50


@dataclass
class Tally:
    """`answers` by status and problem code, `done` by operation; `unknown` are requests whose connection died.

    `resolved` says what repeating those requests met. A flaw is a sentence about a promise that was broken.
    """

    answers: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    resolved: Counter[str] = field(default_factory=Counter)
    facts: dict[str, int | str] = field(default_factory=dict)
    flaws: list[str] = field(default_factory=list)
    unknown: int = 0
    refused_connections: int = 0
    kills: int = 0

    def flaw(self, sentence: str) -> None:
        """Put a broken promise on record."""
        self.facts["flaws"] = int(self.facts.get("flaws", 0)) + 1
        if len(self.flaws) < MOST_FLAWS:
            self.flaws.append(sentence)

    def check(self, holds: bool, sentence: str) -> None:
        """The same unless it holds."""
        if not holds:
            self.flaw(sentence)
