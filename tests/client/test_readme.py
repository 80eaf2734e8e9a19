"""The examples of the client's README, run as they stand: what they say that they print is what they print."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from tests import samples
from tests.parts.service import Refkeep as Service

pytestmark = pytest.mark.anyio

README = Path(__file__).parents[2] / "contracts" / "client" / "README.md"
_EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PRINTS = re.compile(r"# prints (.*)$", re.MULTILINE)
EXAMPLES = [example[1] for example in _EXAMPLE.finditer(README.read_text())]


def titles() -> list[str]:
    """The first line of each example that is not an import."""
    return [next(line for line in text.splitlines() if line and "import" not in line) for text in EXAMPLES]


@pytest.fixture
def names(
    service: Service, key: str, workspace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What the examples may speak of, in a folder with two pictures."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(samples.jpeg())
    (tmp_path / "other.jpg").write_bytes(samples.progressive_jpeg())
    return {"URL": service.url, "KEY": key, "WORKSPACE": workspace}


@pytest.mark.parametrize("text", EXAMPLES, ids=titles())
async def test_an_example_prints_what_it_says(
    text: str, names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code = compile(text, str(README), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    async with asyncio.timeout(60):
        await run(code, names)
    assert capsys.readouterr().out.splitlines() == _PRINTS.findall(text)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 8
    assert sum(len(_PRINTS.findall(text)) for text in EXAMPLES) >= len(EXAMPLES)


async def run(code: CodeType, names: dict[str, Any]) -> None:
    """A module whose statements may wait."""
    running = eval(code, names)
    if inspect.isawaitable(running):
        await running
