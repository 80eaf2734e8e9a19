"""The services are written as by another team: they meet Refkeep over HTTP, through its client, and nowhere else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OURS = "tests.consumers."


@pytest.mark.parametrize("path", sorted(HERE.glob("[sbl]*/*.py")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_service_imports_nothing_of_refkeep_but_its_client(path: Path) -> None:
    allowed = (f"{OURS}shared", f"{OURS}{path.parent.name}")
    foreign = [
        name for name in imported(path) if name.startswith(("service", "tests")) and not name.startswith(allowed)
    ]
    assert foreign == []


def imported(path: Path) -> list[str]:
    tree = ast.walk(ast.parse(path.read_text()))
    return [
        name
        for node in tree
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    ]
