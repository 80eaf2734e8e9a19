"""What commands print for people: texts of others are shown as they are, and move no terminal."""

from __future__ import annotations

import sys

import pytest

from service.commands.output import plain_errors, print_table
from service.commands.progress import Unit, progress
from service.domain.errors import BadRequest

HOSTILE = "[bold]a[/nosuch] :smile: \x1b[2J\r\n\t\x9b1m\u202e\ud800 ü"
SHOWN = r"[bold]a[/nosuch] :smile: \x1b[2J\r\n\t\x9b1m\u202e\ud800 ü"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_cell_is_shown_as_it_is_and_moves_no_terminal(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    print_table(["name", "count"], [[HOSTILE, 1], [None, 2]])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[terminal:]] == [[*SHOWN.split(), "1"], ["2"]]


def test_the_sentence_of_a_fault_moves_no_terminal_and_keeps_its_lines() -> None:
    @plain_errors
    def command() -> None:
        raise BadRequest("one\x1b[2J\ntwo")

    with pytest.raises(Exception, match=r"one\\x1b\[2J\ntwo"):
        command()


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("unit", ["items", "bytes", "share", "unknown"])
def test_progress_is_shown_on_a_terminal_alone(
    unit: Unit, terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with progress("Reading", 10, unit) as tell:
        tell(4, "Reading on")
        tell(10)
    assert ("Reading on" in capsys.readouterr().err) is terminal
