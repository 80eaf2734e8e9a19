"""The lock files say what pyproject.toml says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUN = [
    *PROJECT["project"]["dependencies"],
    *PROJECT["project"]["optional-dependencies"]["video"],
    *PROJECT["dependency-groups"]["build"],
]
E2E = PROJECT["dependency-groups"]["e2e"]
DEV = [line for line in PROJECT["dependency-groups"]["dev"] if isinstance(line, str)]


def locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize(("name", "asked"), [("run.txt", RUN), ("dev.txt", RUN + DEV), ("e2e.txt", E2E)])
def test_every_dependency_is_locked_at_a_release_that_satisfies_it(name: str, asked: list[str]) -> None:
    found = locked(name)
    wrong = [line for line in map(Requirement, asked) if found.get(line.name.lower(), "") not in line.specifier]
    assert wrong == []


def test_both_lock_files_name_the_same_releases() -> None:
    run, dev = locked("run.txt"), locked("dev.txt")
    assert run == {name: dev.get(name) for name in run}


def test_what_end_to_end_tests_add_changes_no_release() -> None:
    dev, e2e = locked("dev.txt"), locked("e2e.txt")
    assert {name: dev[name] for name in e2e.keys() & dev.keys()} == {
        name: e2e[name] for name in e2e.keys() & dev.keys()
    }


@pytest.mark.parametrize("name", ["run.txt", "dev.txt", "e2e.txt"])
def test_lock_files_name_no_place_and_hash_everything(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    assert not re.search(r"://| @ |^-", text, re.MULTILINE)
    assert len(locked(name)) == len(re.findall(r"^\S", text, re.MULTILINE))
    assert not re.search(r"^\S[^\\]*$", text, re.MULTILINE)
