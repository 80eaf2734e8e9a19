"""`make mutants`: takes each step back in a copy of the tree, runs the tests that are there for it, and the stories.

Ends with 1 where a mutation survives its own tests, or where the copy is red before anything was changed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.mutants.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
STORIES = ("tests/machine/test_story.py", "-k", "on_a_folder")
_COPIED = ("service", "tests", "contracts", "docs", "pyproject.toml", "openapi.yaml", "README.md")
_FIRST_FAILURE = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_LIMIT_S = 900


@dataclass(frozen=True)
class Run:
    """`killer` is the first test that failed, None where all passed; in `seconds`."""

    killer: str | None
    seconds: float
    output: str


def main(words: Sequence[str]) -> int:
    """`--without-stories` leaves out what takes minutes; other words choose mutations by parts of their names."""
    told = "--without-stories" not in words
    chosen = [word for word in words if not word.startswith("--")]
    wanted = [each for each in MUTATIONS if not chosen or any(word in each.name for word in chosen)]
    console = Console(width=160)
    suites = sorted({test for mutation in wanted for test in mutation.tests})
    with tempfile.TemporaryDirectory(prefix="refkeep-mutants-") as folder:
        untouched = copied(Path(folder) / "untouched")
        for tests in (suites, STORIES) if told else (suites,):
            sound = run(untouched, tests)
            if sound.killer is not None:
                console.print(f"{sound.output}\nred before anything was changed: {sound.killer}")
                return 1
            console.print(f"unchanged: green in {sound.seconds:.0f} s")
        table = Table("mutation", "killed by", "s", "by the stories alone", "s")
        survivors = [each for each in wanted if not killed(each, Path(folder), table, told=told)]
    console.print(table)
    return 1 if survivors else 0


def killed(mutation: Mutation, folder: Path, table: Table, *, told: bool) -> bool:
    """Whether the mutation's own tests turn red; a line of the table for it."""
    tree = copied(folder / re.sub(r"\W+", "-", mutation.name))
    mutate(tree, mutation)
    own = run(tree, mutation.tests)
    stories = run(tree, STORIES) if told else None
    seen = ["not asked", ""] if stories is None else [short(stories.killer), f"{stories.seconds:.0f}"]
    table.add_row(mutation.name, short(own.killer), f"{own.seconds:.0f}", *seen)
    print(f"{mutation.name}: {short(own.killer)}, {seen[0]}", flush=True)
    return own.killer is not None


def copied(tree: Path) -> Path:
    """A copy of what the tests need."""
    tree.mkdir()
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / name)
    return tree


def mutate(tree: Path, mutation: Mutation) -> None:
    """Carry out every replacement. Raises `ValueError` where the text does not stand there exactly once."""
    for replacement in mutation.replacements:
        path = tree / replacement.path
        text = path.read_text()
        if text.count(replacement.old) != 1:
            raise ValueError(
                f"{mutation.name}: {replacement.path} has {replacement.old!r} {text.count(replacement.old)} times"
            )
        path.write_text(text.replace(replacement.old, replacement.new))


def run(tree: Path, tests: Sequence[str]) -> Run:
    """Run tests of the copy, to the first that fails."""
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    which = subprocess.run(
        [sys.executable, "-c", "import service; print(service.__path__)"],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(tree) in which.stdout, f"the tests would run on {which.stdout}"
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )
    found = _FIRST_FAILURE.search(done.stdout)
    if done.returncode not in {0, 1} or (done.returncode == 1 and found is None):
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return Run(None if found is None or done.returncode == 0 else found[1], time.monotonic() - started, done.stdout)


def short(killer: str | None) -> str:
    """The test without its folder."""
    return "[red]survived[/red]" if killer is None else killer.rpartition("/")[2]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
