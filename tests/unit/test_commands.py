"""What every command of `refkeep` has in common: help, examples, statuses, quick starts and clean ends."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from service import __main__ as command_line
from service.__main__ import main
from service.commands.ending import told_apart
from service.commands.form import Command, Exit
from tests.cli_page import leaves, page
from tests.logging_state import logging_restored
from tests.parts.service import REFKEEP, command_here, environment

LEAVES = dict(leaves())
WITHOUT_RESULT = {"refkeep serve", "refkeep dev"}
LINES_OF_JSON = {"refkeep events replay"}
HEAVY = {"structlog", "rich", "granian", "litestar", "aiobotocore", "pyvips", "opentelemetry.sdk"}


def test_the_page_of_commands_is_what_they_say() -> None:
    assert (Path(__file__).parents[2] / "docs/cli.md").read_text() == page(), (
        "write it anew: python -m tests.cli_page > docs/cli.md"
    )


def test_the_list_of_commands_names_each_and_imports_none() -> None:
    listed = command_here(main, "--help").stdout
    assert set(re.findall(r"^  ([a-z-]+)  ", listed, re.MULTILINE)) >= {path.split()[1] for path in LEAVES}
    code = "import sys; from service.__main__ import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.splitlines()[-1].split())
    assert not imported & {f"service.commands.{name}" for name in ("keys", "output", "serving")}
    assert not imported & {*HEAVY, "asyncpg", "asyncio", "msgspec"}


@pytest.mark.parametrize("words", ["keys list", "policies list"])
def test_a_small_command_starts_without_what_it_does_not_need(words: str, tmp_path: Path) -> None:
    code = f"import sys; from service.__main__ import main\ntry: main({words.split()})\nfinally: print(*sys.modules)"
    settings = environment(DATA_DIR=tmp_path, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=settings, check=False)
    assert not set(done.stdout.splitlines()[-1].split()) & HEAVY


@pytest.mark.parametrize("path", LEAVES)
def test_a_command_shows_examples_that_it_takes_and_how_it_ends(path: str) -> None:
    command = LEAVES[path]
    told = command_here(command, "--help").stdout
    assert "\nExamples:\n" in told
    assert "\nExit status:\n" in told
    for example in command.examples:
        assert example in told
        words = shlex.split(re.split(r" (?:\||\|\||>) ", example)[0].partition("refkeep ")[2].rstrip(")"))
        taker, rest = taking(main, words)
        taker.make_parser(click.Context(taker)).parse_args(rest)
    assert any(f"{path} " in f"{example} " or "import markers" in example for example in command.examples)


def taking(command: click.Command, words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that these words reach, and those that are left for it."""
    if not isinstance(command, click.Group):
        return command, words
    if command.name == "import" and words[0] not in command.commands:
        words = ["run", *words]
    found = command.get_command(click.Context(command), words[0])
    assert found is not None, words
    return taking(found, words[1:])


@pytest.mark.parametrize("path", sorted(LEAVES.keys() - WITHOUT_RESULT - LINES_OF_JSON))
def test_a_command_with_a_result_tells_it_as_json(path: str) -> None:
    assert "--json" in [option for parameter in LEAVES[path].params for option in parameter.opts]


@pytest.mark.parametrize("path", LEAVES)
def test_a_command_that_refuses_where_nothing_may_be_written_says_so(path: str) -> None:
    refuses = "refuse_read_only" in _names_in(LEAVES[path])
    assert (Exit.READ_ONLY in LEAVES[path].statuses) is refuses


def _names_in(command: Command) -> set[str]:
    assert command.callback is not None
    names = set(inspect.unwrap(command.callback).__code__.co_names)
    if "_effort" in names:  # of an import
        names |= {"refuse_read_only"}
    return names


# --- how they end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (KeyboardInterrupt(), 130, ""),
        (click.ClickException("It did not work."), 1, "Error: It did not work."),
        (click.UsageError("Not so."), 2, "Error: Not so."),
        (SystemExit(4), 4, ""),
        (
            KeyError("rk_abc_secretsecret at postgresql://user:secret@db/x"),
            70,
            "Error: KeyError: '[redacted] at postgresql://[redacted]@db/x'. This is a defect of Refkeep;",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_whatever_happens_scripts_can_tell(
    error: BaseException, status: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setattr(command_line._Lazy, "get_command", lambda *_: failing)
    with logging_restored():
        result = CliRunner().invoke(main, ["anything"])
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.strip().startswith(says) if "defect" in says else says in result.stderr
    assert "Traceback" not in result.stderr


def test_developers_are_shown_where_a_defect_is() -> None:
    code = "from service.commands.ending import told_apart\nwith told_apart(): int('x')"
    done = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, check=False)
    assert "Traceback" in done.stderr
    with pytest.raises(click.ClickException, match="ValueError: invalid literal"), told_apart():
        int("x")


def test_a_reader_that_goes_away_ends_a_command_without_a_word() -> None:
    with subprocess.Popen([REFKEEP, "openapi"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_file_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    done = command_here(LEAVES["refkeep openapi"], "--output", str(tmp_path / "none" / "openapi.yaml"))
    assert done.complaint() == f"Error: {tmp_path}/none/openapi.yaml: No such file or directory."


def test_output_that_has_no_room_is_told_in_a_sentence() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [REFKEEP, "policies", "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "Error: What this says cannot be written: No space left on device.\n")


def test_a_file_that_is_no_text_is_not_the_document_of_the_api(tmp_path: Path) -> None:
    (tmp_path / "openapi.yaml").write_bytes(b"\xff\xfe")
    done = command_here(main, "openapi", "--check", str(tmp_path / "openapi.yaml"))
    assert (done.status, "is not what this release serves" in done.stderr) == (1, True)
