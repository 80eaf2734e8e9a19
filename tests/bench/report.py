"""What came out, for a terminal and for the page."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

from tests.bench.load import Taken
from tests.bench.rows import Row

_HEAD = ("work", "peer", "peer /s", "Refkeep /s", "ratio", "at least", "")


@dataclass
class Result:
    """The rounds of a row, by contestant; each ratio is of one round."""

    row: Row
    rounds: dict[str, list[Taken]] = field(default_factory=dict)

    def rate(self, name: str) -> float:
        """The median of the row's figure."""
        return statistics.median(self.row.figure(taken) for taken in self.rounds[name])

    def ratio(self, name: str) -> float:
        """How many times as fast as that peer Refkeep is: the median of the rounds' own ratios."""
        pairs = zip(self.rounds[self.row.subject], self.rounds[name], strict=True)
        return statistics.median(self.row.figure(ours) / self.row.figure(theirs) for ours, theirs in pairs)

    def cpu_us(self, name: str) -> float:
        """Processor time of one piece of work, the median."""
        return statistics.median(taken.cpu_us for taken in self.rounds[name])


def is_met(result: Result, name: str) -> bool:
    """Whether Refkeep is as fast as it must be; nobody knows where the peer is missing."""
    return name not in result.rounds or result.ratio(name) >= result.row.bounds[name]


def _lines(results: Sequence[Result], missing: Sequence[str]) -> list[tuple[str, ...]]:
    """A line for each row and peer: who, how fast, how much faster, and what it must be."""
    lines: list[tuple[str, ...]] = []
    for result in results:
        for name, bound in result.row.bounds.items():
            if name in missing:
                lines.append((result.row.name, name, "missing", "", "", f"{bound:g}", ""))
                continue
            said = "met" if is_met(result, name) else "not met"
            rates = (_readable(result.rate(name)), _readable(result.rate(result.row.subject)))
            lines.append((result.row.name, name, *rates, f"{result.ratio(name):.2f}", f"{bound:g}", said))
    return lines


def _readable(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def table_of(results: Sequence[Result], missing: Sequence[str]) -> Table:
    """For a terminal."""
    table = Table(*_HEAD, title=machine())
    for line in _lines(results, missing):
        table.add_row(*line)
    for result in results:
        spent = ", ".join(f"{name} {result.cpu_us(name):,.0f}" for name in result.rounds)
        table.add_row(f"[dim]{result.row.name}[/]", f"[dim]µs of processor: {spent}[/]")
    return table


def markdown(results: Sequence[Result], missing: Sequence[str], about: str) -> str:
    """For docs/benchmarks.md."""
    rows = ["| " + " | ".join(line) + " |" for line in (_HEAD, ("---",) * len(_HEAD), *_lines(results, missing))]
    spent = [
        f"- {result.row.name}: " + ", ".join(f"{name} {result.cpu_us(name):,.0f} µs" for name in result.rounds)
        for result in results
    ]
    return "\n".join(
        [about, "", *rows, "", "Processor time of one piece of work, the server's processes together:", "", *spent, ""]
    )


def machine() -> str:
    """What all of this ran on."""
    cpus = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = cpus[0].partition(":")[2].strip() if cpus else platform.machine()
    return f"{len(cpus)} × {model}, Linux {platform.release()}, Python {platform.python_version()}"
