"""What comes out when database and store are held against each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from service.ports.space import Drift

MOST_TOLD = 10_000
"""Findings that a report names; it counts all of them."""


class Kind(StrEnum):
    """What is wrong, or was."""

    MISSING = "missing"
    CORRUPT = "corrupt"
    HEALED = "healed"
    UNSTEADY = "unsteady"
    UNREADABLE = "unreadable"
    GARBAGE = "garbage"
    YOUNG = "young"
    UNUSED = "unused"
    ADOPTED = "adopted"
    SPARE = "spare"
    FOREIGN = "foreign"


HARMLESS = frozenset({Kind.HEALED, Kind.YOUNG, Kind.SPARE})
_NO_LOSS = HARMLESS | {Kind.ADOPTED}
"""With what is there and may be taken back: still to be done in a dry run, and nothing wrong with any bytes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the object `key`, of `size` bytes. `settled`: nothing is left to do about it."""

    kind: Kind
    key: str
    size: int
    settled: bool


@dataclass(slots=True)
class Report:
    """`rows` of objects and `stored` keys that were seen, `bytes` of the latter; of a scrub those that were read.

    `told` are the first findings, `counts` and `sizes` those of all by their kind. `drift` are workspaces that were
    charged wrongly, `unfinished` uploads in parts that never ended. `too_much` is the share of all objects, in percent,
    that would have been removed and was not. `left` is what a scrub did not come to.
    """

    rows: int = 0
    stored: int = 0
    bytes: int = 0
    unsettled: int = 0
    unfinished: int = 0
    left: int = 0
    too_much: float | None = None
    drift: list[Drift] = field(default_factory=list)
    told: list[Finding] = field(default_factory=list)
    counts: Counter[Kind] = field(default_factory=Counter)
    sizes: Counter[Kind] = field(default_factory=Counter)

    def add(self, kind: Kind, key: str, size: int, *, settled: bool = False) -> None:
        """Count a finding, and name it while there is room."""
        done = settled or kind in HARMLESS
        self.counts[kind] += 1
        self.sizes[kind] += size
        self.unsettled += not (settled or kind in _NO_LOSS)
        if len(self.told) < MOST_TOLD:
            self.told.append(Finding(kind, key, size, done))

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong any more."""
        return not (self.unsettled or self.drift or self.too_much)
